"""A run's figures are converted for TensorBoard, each step once, as TensorBoard itself reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pangea.commands import event_file
from pangea.commands.event_file import EVENT_FILE, Converter, EventFile, scalars
from pangea.commands.main import main


def _line(step: int, **figures: float | None) -> str:
    head = {"step": step, "epoch": 0, "loss": 2.0 - step, "samples": 8, "time": f"2026-01-02T03:04:0{step}.123456789Z"}
    return json.dumps({**head, "figures": figures} if figures else head) + "\n"


def _shown(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values by tag, as TensorBoard reads them."""
    events = EventAccumulator(str(folder))
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in sorted(events.Tags()["scalars"])
    }


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    (tmp_path / "metrics.jsonl").write_text(
        _line(0, accuracy=0.25, rare=None) + _line(1) + _line(2, accuracy=0.5, **{"gradient/norm": 3.0}) + '{"step": 3'
    )
    return tmp_path


def test_each_step_has_its_loss_and_its_figures_at_the_time_of_its_commit(run_dir: Path) -> None:
    result = CliRunner().invoke(main, ["tensorboard", str(run_dir)])
    assert result.exit_code == 0, result.output
    shown = _shown(run_dir / "tensorboard")
    assert shown["loss"] == [(0, 2.0), (1, 1.0), (2, 0.0)]
    assert shown["accuracy"] == [(0, 0.25), (2, 0.5)]
    assert shown["gradient/norm"] == [(2, 3.0)]
    assert shown["run/samples"] == [(0, 8.0), (1, 8.0), (2, 8.0)]
    assert "rare" not in shown
    events = EventAccumulator(str(run_dir / "tensorboard"))
    events.Reload()
    times = [event.wall_time for event in events.Scalars("loss")]
    assert times == pytest.approx([1767323040.123456 + step for step in range(3)])


def test_a_second_conversion_replaces_the_first_with_the_same_bytes(run_dir: Path) -> None:
    CliRunner().invoke(main, ["tensorboard", str(run_dir), "-o", str(run_dir / "board")])
    first = (run_dir / "board" / EVENT_FILE).read_bytes()
    CliRunner().invoke(main, ["tensorboard", str(run_dir), "-o", str(run_dir / "board")])
    assert (run_dir / "board" / EVENT_FILE).read_bytes() == first
    assert [*(run_dir / "board").iterdir()] == [run_dir / "board" / EVENT_FILE]


def test_a_run_is_followed_until_its_results_are_there(run_dir: Path) -> None:
    with (run_dir / EVENT_FILE).open("wb") as stream:
        converter = Converter(run_dir, EventFile(stream))
        assert converter.convert() == 3
        with (run_dir / "metrics.jsonl").open("a") as metrics:
            metrics.write(', "loss": 7}\n')
        assert converter.convert() == 4
        results = {"steps": 4, "params_hash": "ab", "incidents": 0, "held_out_accuracy": 0.75, "name": "x"}
        (run_dir / "result.json").write_text(json.dumps(results))
        assert converter.convert() == converter.convert() == 4
    shown = _shown(run_dir)
    assert shown["loss"][-1] == (3, 7.0)
    assert shown["held_out_accuracy"] == [(4, 0.75)]
    assert "incidents" not in shown


def test_without_the_package_the_message_says_what_to_install(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(name: str, *_: Any) -> Any:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr("importlib.import_module", without)
    with pytest.raises(event_file.TensorBoardMissing, match=r"pip install 'pangea\[tensorboard\]'"):
        event_file.require_tensorboard()


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["tensorboard", str(tmp_path)])
    assert result.exit_code == 1 and "has no metrics.jsonl" in result.output


def test_what_is_not_a_finite_number_is_not_shown() -> None:
    assert scalars({"loss": None, "figures": {"a": float("inf"), "b": "text", "c": True, "d": 1}}) == {"d": 1.0}
