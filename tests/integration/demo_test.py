"""The demo as a user runs it."""

import json
import os
from pathlib import Path

import safetensors.torch
from click.testing import CliRunner

import pangea
from pangea.commands.main import main
from pangea.examples.digits import build_model
from tests.harness.command import Ended, run_python
from tests.harness.run_files import RunFiles


def demo(folder: Path, *arguments: str) -> Ended:
    return run_python(folder, str(Path(pangea.__file__).with_name("demo.py")), *arguments, working_folder=Path(os.sep))


def test_the_demo_reaches_97_percent_on_held_out_samples(tmp_path: Path) -> None:
    ended = demo(tmp_path, "--epochs", "8", "--run-dir", "run", "--json")
    assert ended.returncode == 0, ended.stderr
    figures = json.loads(ended.stdout)
    assert figures["held_out_accuracy"] >= 0.97
    assert figures["steps"] == 8 * 23
    assert figures["failed_workers"] == []
    assert abs(sum(figures[f"{part}_share"] for part in ("data", "compute", "exchange")) - 1) < 1e-6
    run = RunFiles(tmp_path / "run")
    assert run.read("run.json")["state"] == "finished"
    assert run.read("run.json")["params_hash"] == run.read("result.json")["params_hash"] == figures["params_hash"]
    assert len(run.hashes()) == figures["steps"]
    audited = CliRunner().invoke(main, ["audit", str(tmp_path / "run"), "--json"])
    assert audited.exit_code == 0, audited.output
    proven = json.loads(audited.output)
    assert proven["samples"] == 8 * 1438
    assert len(proven["ledger"]) > 5 and len(proven["files"]) > 2
    weights = tmp_path / "weights.safetensors"
    exported = CliRunner().invoke(main, ["export", str(tmp_path / "run"), "-o", str(weights)])
    assert exported.exit_code == 0, exported.output
    build_model().load_state_dict(safetensors.torch.load_file(weights))


def test_a_directory_that_holds_a_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    ended = demo(tmp_path, "--run-dir", "run")
    assert ended.returncode == 1
    assert "holds a run already" in ended.stderr


def test_the_reason_why_a_script_failed_is_shown(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise SystemExit('no such layer')\n")
    ended = demo(tmp_path, "broken.py", "--workers", "1")
    assert ended.returncode == 1
    assert "no such layer" in ended.stderr
