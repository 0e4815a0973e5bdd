"""The character transformer (dropout, AdamW, cosine schedule, clipping) on real text: one worker and three agree."""

import gzip
import math
from pathlib import Path

from pangea.places import data_file, example
from tests.harness.command import pangea
from tests.harness.run_files import RunFiles

# From the sources of Python's standard library; 20 steps an epoch.
TEXT_BYTES = 93_000


def train(folder: Path, text: Path, workers: int) -> RunFiles:
    words = [
        "--workers",
        str(workers),
        "--epochs",
        "2",
        "--seed",
        "3",
        "--dataset",
        f"text:{text},context=64,held_out=0.1",
    ]
    ended = pangea(folder, "train", str(example("characters.py")), *words, "--run-dir", f"run-{workers}", "--json")
    assert ended.returncode == 0, ended.stderr
    return RunFiles(folder / f"run-{workers}")


def test_a_transformer_learns_real_text_with_the_same_bits_for_any_number_of_workers(tmp_path: Path) -> None:
    text = tmp_path / "some.txt"
    text.write_bytes(gzip.decompress(data_file("stdlib.txt.gz").read_bytes())[:TEXT_BYTES])
    alone, together = train(tmp_path, text, 1), train(tmp_path, text, 3)
    first, *_, last = alone.metrics()
    assert len(alone.hashes()) > 30
    assert last["loss"] < 0.7 * first["loss"]
    assert 0 < alone.read("result.json")["held_out_bits_per_character"] < math.log2(256) / 2
    assert together.hashes() == alone.hashes()
    assert together.read("result.json") == alone.read("result.json")
