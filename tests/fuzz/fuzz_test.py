"""A few seconds of every target: it starts, tries its whole corpus, and finds nothing."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.fuzz.main import RUST, run_rust


@pytest.mark.parametrize("target", RUST)
def test_a_target_finds_nothing_in_its_corpus_and_near_it(target: str, tmp_path: Path) -> None:
    found = run_rust(target, 3, tmp_path, seed=1)
    assert found.findings == 0, [file.name for file in tmp_path.iterdir()]
    assert found.executions > 100
    # The corpus alone has more than one outcome: the target reads it.
    assert found.outcomes > 3


def test_an_unknown_target_is_refused(tmp_path: Path) -> None:
    result = subprocess.run([os.environ["RUST_TARGETS"], "nonsense"], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert all(json.dumps(name) in result.stderr for name in RUST)
