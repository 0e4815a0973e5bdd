"""The character transformer (dropout, AdamW, cosine schedule, clipping) on real text, through all services: the same bits for one worker and three."""

import gzip
import json
import math
from pathlib import Path
from typing import Any

from pangea.places import data_file, example
from tests.harness.command import pangea

# Of the standard library's sources: 20 steps of an epoch.
TEXT_BYTES = 93_000


def train(folder: Path, text: Path, workers: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    words = ["--workers", str(workers), "--epochs", "2", "--seed", "3", "--dataset", f"text:{text},context=64,held_out=0.1"]
    ended = pangea(folder, "train", str(example("characters.py")), *words, "--run-dir", f"run-{workers}", "--json")
    assert ended.returncode == 0, ended.stderr
    metrics = [json.loads(line) for line in (folder / f"run-{workers}" / "metrics.jsonl").read_text().splitlines()]
    return json.loads((folder / f"run-{workers}" / "result.json").read_text()), metrics


def test_a_transformer_learns_real_text_to_the_same_bits_for_any_number_of_workers(tmp_path: Path) -> None:
    text = tmp_path / "some.txt"
    text.write_bytes(gzip.decompress(data_file("stdlib.txt.gz").read_bytes())[:TEXT_BYTES])
    alone, steps = train(tmp_path, text, 1)
    assert len(steps) > 30
    assert steps[-1]["loss"] < 0.7 * steps[0]["loss"]
    assert 0 < alone["held_out_bits_per_character"] < math.log2(256) / 2
    together, others = train(tmp_path, text, 3)
    assert [line["params_hash"] for line in others] == [line["params_hash"] for line in steps]
    assert together == alone
