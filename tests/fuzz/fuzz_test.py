"""A moment of every target: it starts, tries its whole corpus, and finds nothing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.fuzz.main import RUST, go_targets, run_go, run_rust

SECONDS = 1
GO = go_targets()


@pytest.mark.parametrize("target", RUST)
def test_a_rust_target_finds_nothing_in_its_corpus_and_near_it(target: str, tmp_path: Path) -> None:
    found = run_rust(target, SECONDS, tmp_path / "findings", tmp_path / "kept", seed=1)
    assert found.findings == 0, list((tmp_path / "findings").rglob("*"))
    corpus = list((Path(os.environ["CORPUS"]) / target).iterdir())
    assert corpus
    assert found.executions > len(corpus)
    # The program is instrumented, and what is in its corpus differs in what it reaches.
    assert found.edges > 100
    assert found.kept > 3


@pytest.mark.parametrize("target", GO)
def test_a_go_target_finds_nothing_in_its_corpus_and_near_it(target: str, tmp_path: Path) -> None:
    program, testdata = GO[target]
    assert list((testdata / "fuzz" / target).iterdir())
    found = run_go(program, testdata, target, SECONDS, tmp_path / "findings", tmp_path / "kept")
    assert found.findings == 0, list((tmp_path / "findings").rglob("*"))
    assert found.executions > 0
    assert found.kept > 3


def test_every_go_program_has_targets() -> None:
    packages = {testdata.parent.name for _, testdata in GO.values()}
    assert len(packages) == len(os.environ["GO_PROGRAMS"].split())


def test_a_finding_is_reported_and_kept(tmp_path: Path) -> None:
    """A program that does not survive an input: the Rust one with a target that it does not have."""
    found = run_rust("nonsense", 1, tmp_path / "findings", tmp_path / "kept", seed=1)
    assert found.findings > 0
    assert all(name in (tmp_path / "findings" / "nonsense" / "log-1").read_text() for name in RUST)


def test_an_unknown_target_is_refused() -> None:
    result = subprocess.run(
        [os.environ["RUST_TARGETS"]],
        env={**os.environ, "FUZZ_TARGET": "nonsense"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert all(f'"{name}"' in result.stderr for name in RUST)
