"""Processes of a deployed stack are killed, and its run must end with the bits of an undisturbed run elsewhere.

Started by setup.sh, or by hand: see tests/e2e/README.md. Each test builds on those before it.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.stack import Stack, kill
from tests.harness.command import pangea
from tests.harness.pages import http_get
from tools.processes.waiting import eventually

STACK = Stack.from_environment()
# Between two kills, so that the run is known to make progress again.
STEPS_BETWEEN = 10
# Containers start torch slowly on a loaded machine; a stack that makes no progress is still found.
PATIENCE_SECONDS = 600.0


@pytest.mark.parametrize("address", [STACK.orchestrator, STACK.data])
def test_a_service_is_ready_and_exports_metrics(address: str) -> None:
    eventually(lambda: http_get(address, "/healthz")[0] == 200, f"{address} is healthy", PATIENCE_SECONDS)
    eventually(lambda: http_get(address, "/readyz")[0] == 200, f"{address} is ready", PATIENCE_SECONDS)
    assert "pangea_" in http_get(address, "/metrics")[1]


@pytest.mark.parametrize("command", STACK.kills)
def test_the_run_continues_after(command: str) -> None:
    before = eventually(lambda: STACK.steps > STEPS_BETWEEN and STACK.steps, "the run is under way", PATIENCE_SECONDS)
    assert STACK.record()["state"] != "finished", "the run finished before it could be disturbed; give it more epochs"
    kill(command)
    eventually(
        lambda: STACK.steps > before + STEPS_BETWEEN or STACK.record()["state"] == "finished",
        f"the run continues after `{command}`",
        PATIENCE_SECONDS,
    )


def test_the_run_ends() -> None:
    eventually(lambda: STACK.record().get("state") == "finished", "the run ends", PATIENCE_SECONDS)
    record = STACK.record()
    assert record["steps"] == record["total_steps"] == STACK.steps
    eventually((STACK.run_dir / "result.json").exists, "a worker writes its result", PATIENCE_SECONDS)
    assert json.loads((STACK.run_dir / "result.json").read_text())["held_out_accuracy"] > 0.9


def test_every_sample_was_counted_once() -> None:
    result = pangea(STACK.run_dir.parent, "audit", str(STACK.run_dir))
    assert result.returncode == 0, result.stdout + result.stderr


def test_one_worker_on_this_machine_computes_the_same_bits(tmp_path: Path) -> None:
    record = STACK.record()
    options = [f"--{name.replace('_', '-')}={record[name]}" for name in ("epochs", "batch_size", "shards", "seed")]
    options += [f"--arithmetic={STACK.arithmetic}"] if STACK.arithmetic else []
    result = pangea(tmp_path, "train", "--workers", "1", *options, "--run-dir", "run", patience_seconds=None)
    assert result.returncode == 0, result.stdout + result.stderr
    undisturbed = json.loads((tmp_path / "run" / "run.json").read_text())
    assert undisturbed["params_hash"] == record["params_hash"]
