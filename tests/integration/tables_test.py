"""Real tables, whose columns differ in scale by fifteen orders of magnitude, are learned as well as others."""

import random
from pathlib import Path
from typing import Any

import pytest

from tests.harness.command import pangea
from tests.harness.run_files import RunFiles

SCRIPT = """
import torch, pangea
from torch.nn import functional as F
pangea.seed_everything()
model = torch.nn.Sequential(torch.nn.Linear(3, 32), torch.nn.ReLU(), torch.nn.Linear(32, 2))
run = pangea.join(model, torch.optim.Adam(model.parameters(), lr=1e-2))
for batch in run.batches():
    run.step(F.cross_entropy(model(batch.x), batch.y))
right, values, samples = 0, set(), 0
with torch.no_grad():
    for batch in run.held_out():
        right += int((model(batch.x).argmax(1) == batch.y).sum())
        values |= set(batch.x[:, 0].tolist())
        samples += batch.samples
names = ", ".join((*run.dataset.columns, *run.dataset.class_names))
run.finish(held_out_accuracy=right / samples, distinct_values=len(values), samples=samples, names=names)
"""


def salaries(source: random.Random) -> float:
    return round(source.gauss(50_000, 15_000), 2)


def nanoseconds(source: random.Random) -> int:
    return 1_700_000_000_000_000_000 + source.randrange(10**15)


def rows(third: Any, labels: tuple[str, str]) -> list[tuple[str, ...]]:
    """Two columns that determine the label, and one of a larger scale that is noise."""
    source = random.Random(2)
    found: list[tuple[str, ...]] = []
    for _ in range(2000):
        a, b = source.gauss(0, 1), source.gauss(0, 1)
        found.append((f"{a:.5f}", f"{b:.5f}", str(third(source)), labels[a + b > 0]))
    return found


def train(folder: Path, dataset: str, workers: int) -> dict[str, Any]:
    (folder / "script.py").write_text(SCRIPT)
    ended = pangea(
        folder,
        "train",
        "script.py",
        "--workers",
        str(workers),
        "--epochs",
        "10",
        "--dataset",
        dataset,
        "--run-dir",
        "run",
        "--json",
    )
    assert ended.returncode == 0, ended.stderr
    return RunFiles(folder / "run").read("result.json")


@pytest.mark.parametrize("large", [salaries, nanoseconds])
def test_a_column_of_a_large_scale_does_not_drown_the_others(large: Any, tmp_path: Path) -> None:
    (tmp_path / "-d.csv").write_text("".join(",".join(row) + "\n" for row in rows(large, ("0", "1"))))
    result = train(tmp_path, "csv:./-d.csv,shape=3", workers=1)
    assert result["samples"] == 400
    assert result["distinct_values"] > 390
    assert result["held_out_accuracy"] > 0.97


def test_a_spreadsheet_with_column_names_and_text_labels_is_learned(tmp_path: Path) -> None:
    lines = ["a;b;pay;side", *(";".join(row) for row in rows(salaries, ("below", "above")))]
    (tmp_path / "sheet.csv").write_bytes(("\ufeff" + "\r\n".join(lines) + "\r\n").encode())
    result = train(tmp_path, "csv:sheet.csv,shape=3", workers=2)
    assert result["samples"] == 400
    assert result["held_out_accuracy"] > 0.97
    assert result["names"] == "a, b, pay, above, below"


def test_the_error_for_an_unusable_file_names_line_and_column(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "faulty.csv").write_text("a,b,pay,side\n\n1,2,3,0\n1,2,much,0\n")
    ended = pangea(tmp_path, "train", "script.py", "--dataset", "csv:faulty.csv,shape=3", "--run-dir", "run")
    assert ended.returncode == 1
    assert 'line 4 (row 2): column 3 (pay): "much" is not a number' in ended.stderr
