"""Without a GPU, the program says so and fails, instead of measuring something else."""

import subprocess
import sys

import pytest
import torch


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, on which the program would train")
def test_without_a_gpu_it_says_so_and_fails() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tools.bench.gpu"], capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == 1
    assert "there is no GPU at hand" in ended.stderr and "nothing was measured" in ended.stderr
