"""The range of versions decides about the warning, and an environment without torch is named as such."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import pangea
from pangea.torch_version import TRIED, untried_version


@pytest.mark.parametrize("version", ["2.4.0", "2.4.1+cpu", "2.6.0a0+debian", "2.15.0+cu132"])
def test_a_version_that_was_tried_needs_no_warning(version: str) -> None:
    assert untried_version(version) is None


@pytest.mark.parametrize("version", ["2.3.1", "1.13.1+cpu", "2.16.0.dev20261101", "3.0.0", "unknown"])
def test_the_warning_names_the_version_and_the_range(version: str) -> None:
    warning = untried_version(version)
    assert warning is not None and f"torch {version} " in warning and TRIED in warning


def test_without_torch_the_first_use_of_the_package_says_so(tmp_path: Path) -> None:
    """In an interpreter without any other package than this one."""
    (tmp_path / "pangea").symlink_to(Path(pangea.__file__).parent)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import pangea; pangea.join"
    result = subprocess.run(
        # -S, -E: without the packages of the environment.
        [sys.executable, "-S", "-E", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.rstrip().splitlines()[-1].endswith(f"Pangea was tried with torch {TRIED}")
    assert "pip install torch" in result.stderr
