"""Which interpreter and which versions the options of a trial stand for, and that a failed step is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.wheel.trial import Failed, Trial, interpreter, lowest_requirements, torch_requirement


def test_versions_stand_for_commands_and_requirements() -> None:
    assert [interpreter(name) for name in ("3.13", "pypy3", "/opt/bin/python")] == [
        "python3.13",
        "pypy3",
        "/opt/bin/python",
    ]
    assert [torch_requirement(version) for version in ("2.15", "2.6.0")] == ["torch==2.15.*", "torch==2.6.0"]


def test_the_lowest_versions_are_those_of_the_metadata_without_torch_and_extras() -> None:
    assert lowest_requirements(["numpy>=1.26", "torch<3,>=2.4", 'ray>=2.40; extra == "ray"', "pyyaml>=6"]) == [
        "numpy==1.26",
        "pyyaml==6",
    ]


def test_an_interpreter_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(Failed, match=r"^python9\.99: No such file or directory$"):
        Trial(tmp_path, tmp_path / "new").install("9.99", "2.15", lowest=False)
