"""The shipped examples: the same bytes with one worker and with two, and a ledger that proves it."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from pangea.places import data_file, example
from tests.harness.command import pangea
from tests.harness.run_files import RunFiles

# The start of the text that the examples are for.
TEXT, TEXT_BYTES = ("--dataset", "text:text.txt,context=64"), 48 * 1024
# Arguments that make a run of some seconds, and what the script must have logged or reported.
EXAMPLES = {
    "digits.py": (["--epochs", "1"], ["held_out_accuracy"], []),
    "characters.py": ([*TEXT, "--epochs", "1", "--batch-size", "128"], ["held_out_accuracy"], []),
    "lstm.py": ([*TEXT, "--epochs", "2", "--batch-size", "128"], ["held_out_perplexity"], []),
    "gan.py": (["--epochs", "2"], [], ["loss/critic", "loss/generator"]),
    "vae.py": (["--epochs", "2"], ["held_out_error"], ["loss/error", "loss/divergence"]),
}


def train(folder: Path, name: str, workers: int, words: list[str]) -> RunFiles:
    run_dir = f"{workers}-workers"
    ended = pangea(
        folder, "train", str(example(name)), "--workers", str(workers), "--seed", "3", "--run-dir", run_dir, *words
    )
    assert ended.returncode == 0, ended.stderr
    return RunFiles(folder / run_dir)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_trains_to_the_same_bytes_with_one_worker_and_with_two(name: str, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(gzip.decompress(data_file("stdlib.txt.gz").read_bytes())[:TEXT_BYTES])
    words, results, figures = EXAMPLES[name]
    one, two = (train(tmp_path, name, workers, words) for workers in (1, 2))
    assert two.final() == one.final()
    assert two.hashes() == one.hashes()
    assert two.read("result.json") == one.read("result.json")
    assert two.figures() == one.figures()
    assert [name for name in results if name not in one.read("result.json")] == []
    assert [name for name in figures if any(name not in figures_of_step for figures_of_step in one.figures())] == []
    for run in (one, two):
        run.audit()


def test_every_example_is_tried() -> None:
    scripts = {file.name for file in example("digits.py").parent.glob("*.py") if not file.name.endswith("_test.py")}
    assert scripts - {"__init__.py"} == EXAMPLES.keys()
