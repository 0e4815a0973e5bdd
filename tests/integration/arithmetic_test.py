"""A run that is pinned to a level has the same bits, whatever the caller's environment makes libraries choose."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pangea.arithmetic import LEVELS, VARIABLE, best_level
from pangea.places import example
from tests.harness.command import pangea, run_python
from tests.harness.run_files import RunFiles

pytestmark = pytest.mark.skipif(not best_level(), reason="this processor has no level to pin")

# Kernels that this processor would choose, ones for a newer processor, and ones for an older one, with the other
# variables that steer the libraries.
CALLERS = {
    "zen": {"OPENBLAS_CORETYPE": "Zen", "OPENBLAS_L2_SIZE": "262144", "OPENBLAS_NUM_THREADS": "2"},
    "skylake": {"OPENBLAS_CORETYPE": "SkylakeX", "OPENBLAS_L2_SIZE": "2097152"},
    "old": {
        "OPENBLAS_CORETYPE": "Sandybridge",
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA",
    },
}


def unpinned(**environment: str) -> dict[str, str]:
    """The environment of a caller that has not pinned its arithmetic, as this test has."""
    deciding = {VARIABLE, *LEVELS["avx2"].variables}
    return {name: value for name, value in os.environ.items() if name not in deciding} | environment


def train(folder: Path, **environment: str) -> tuple[bytes, list[str]]:
    """The trained weights and the hash after each step."""
    run = RunFiles(folder / "run")
    result = pangea(
        folder,
        "train",
        "--workers",
        "1",
        "--epochs",
        "1",
        "--arithmetic",
        "avx2",
        "--run-dir",
        "run",
        environment=unpinned(**environment),
    )
    assert result.returncode == 0, result.stderr
    assert run.read("launch.json")["arithmetic"] == "avx2"
    return run.final(), run.hashes()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[str]]:
    return train(tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize("caller", CALLERS)
def test_the_callers_environment_does_not_affect_the_result(
    caller: str, plain: tuple[bytes, list[str]], tmp_path: Path
) -> None:
    assert train(tmp_path, **CALLERS[caller]) == plain


def test_a_script_that_is_started_by_hand_computes_the_same_bits(
    plain: tuple[bytes, list[str]], tmp_path: Path
) -> None:
    result = run_python(
        tmp_path, str(example("digits.py")), environment=unpinned(PANGEA_ARITHMETIC="avx2", **CALLERS["old"])
    )
    assert result.returncode == 0, result.stderr
    (run_dir,) = (tmp_path / "pangea-runs").iterdir()
    assert "restarting digits.py" in result.stderr
    # The script's own default is more epochs.
    assert RunFiles(run_dir).hashes()[: len(plain[1])] == plain[1]


def test_the_libraries_would_have_followed_the_caller(tmp_path: Path) -> None:
    """Without this the other tests would prove nothing."""
    script = """
from pangea.training.determinism import configure_torch
from pangea.training.fingerprints import fingerprints
configure_torch()
print({name: value.hex() for name, value in fingerprints().items()})
"""
    printed = [run_python(tmp_path, "-c", script, environment=unpinned(**caller)) for caller in ({}, CALLERS["old"])]
    assert [ended.returncode for ended in printed] == [0, 0], printed
    assert len({ended.stdout for ended in printed}) == 2


def test_a_run_does_not_resume_with_another_arithmetic(tmp_path: Path) -> None:
    train(tmp_path)
    result = pangea(tmp_path, "train", "--resume", "run", "--arithmetic", "avx512")
    assert result.returncode == 1
    assert "--arithmetic avx512 (the run has avx2)" in result.stderr


@pytest.mark.skipif(best_level() != "avx2", reason="this processor has every level")
def test_a_level_that_this_machine_lacks_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    result = pangea(tmp_path, "train", "--arithmetic", "avx512", "--run-dir", "run")
    assert result.returncode == 1
    assert "this machine's processor lacks avx512bw" in result.stderr
    assert "--arithmetic avx2" in result.stderr
    assert not (tmp_path / "run" / "run.json").exists()
