"""The status of a run, live and from its files."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from pangea.commands.main import main
from pangea.rundir.status import StatusUnavailable, read_status

LIVE = {
    "run_id": "r",
    "state": "running",
    "step": 8,
    "committed": 9,
    "replaying": True,
    "total_steps": 20,
    "epoch": 1,
    "loss": 0.5,
    "params_hash": "ab",
    "samples_per_second": 1234.0,
    "workers": [{"id": 1, "name": "worker-1", "pid": 42, "step": 8, "silent": True, "shards": [0, 3]}],
}


@pytest.fixture
def orchestrator(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a stand-in for go-orchestrator's /status, which the environment's proxy would not reach."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/status" else 404)
            self.end_headers()
            self.wfile.write(json.dumps(LIVE).encode())

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    (tmp_path / "run.json").write_text(
        json.dumps({"run_id": "r", "state": "stopped", "total_steps": 20, "params_hash": ""})
    )
    (tmp_path / "metrics.jsonl").write_text(
        "".join(
            json.dumps({"step": step, "epoch": 0, "loss": 2.0 - step, "params_hash": f"h{step}"}) + "\n"
            for step in range(2)
        )
    )
    return tmp_path


def set_address(run_dir: Path, address: str) -> None:
    (run_dir / "logs" / "go-orchestrator.ports.json").write_text(json.dumps({"listen": "127.0.0.1:1", "http": address}))


def test_a_live_run_is_queried_by_address_or_by_directory(orchestrator: str, run_dir: Path) -> None:
    assert read_status(orchestrator, run_dir) == {**LIVE, "live": True}
    set_address(run_dir, orchestrator)
    assert read_status(str(run_dir), run_dir) == {**LIVE, "live": True, "run_dir": str(run_dir)}


def test_an_orchestrator_of_another_run_at_the_old_address_is_ignored(orchestrator: str, run_dir: Path) -> None:
    (run_dir / "run.json").write_text(
        json.dumps({"run_id": "mine", "state": "running", "total_steps": 20, "params_hash": ""})
    )
    set_address(run_dir, orchestrator)
    status = read_status(str(run_dir), run_dir)
    assert (status["live"], status["run_id"], status["state"]) == (False, "mine", "killed")


def test_the_status_of_a_run_that_is_not_live_is_read_from_its_files(run_dir: Path) -> None:
    status = read_status(str(run_dir), run_dir)
    assert (status["state"], status["committed"], status["total_steps"], status["loss"], status["params_hash"]) == (
        "stopped",
        2,
        20,
        1.0,
        "h1",
    )


def test_a_target_that_is_neither_a_run_nor_an_address_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for target, message in [
        ("empty", "holds no run"),
        ("nowhere", "is not a directory"),
        ("127.0.0.1:1", "no orchestrator answers"),
    ]:
        with pytest.raises(StatusUnavailable, match=message):
            read_status(target, tmp_path)


def test_the_command_prints_tables_or_json(orchestrator: str, run_dir: Path) -> None:
    shown = CliRunner().invoke(main, ["status", orchestrator])
    assert shown.exit_code == 0, shown.output
    for part in ("9 of 20", "recomputing step 8", "worker-1", "0, 3", "silent", "1,234"):
        assert part in shown.output
    stopped = CliRunner().invoke(main, ["status", str(run_dir)])
    assert "pangea train --resume" in stopped.output
    assert json.loads(CliRunner().invoke(main, ["status", str(run_dir), "--json"]).output)["committed"] == 2


def test_incidents_and_other_warnings_have_rows(run_dir: Path) -> None:
    record = json.loads((run_dir / "run.json").read_text())
    more = {
        "incidents": 2,
        "stopped": "[red] light",
        "checkpoint_error": "no space left",
        "resumed_from": {"step": 1, "file": "f", "steps_again": 4},
    }
    (run_dir / "run.json").write_text(json.dumps({**record, **more}))
    shown = CliRunner().invoke(main, ["status", str(run_dir)], env={"COLUMNS": "600"}).output
    for part in (
        f"2; see pangea audit {run_dir}",
        "[red] light",
        "cannot be written: no space left",
        "step 1, 4 steps computed again",
    ):
        assert part in shown
    assert json.loads(CliRunner().invoke(main, ["status", str(run_dir), "--json"]).output)["incidents"] == 2


def test_watching_a_run_that_has_ended_shows_it_and_exits(run_dir: Path) -> None:
    shown = CliRunner().invoke(main, ["status", str(run_dir), "--watch", "--json"])
    assert shown.exit_code == 0, shown.output
    assert {json.loads(line)["state"] for line in shown.output.splitlines()} == {"stopped"}


def test_a_folder_without_a_run_is_an_error_message_and_exit_code_1(tmp_path: Path) -> None:
    shown = CliRunner().invoke(main, ["status", str(tmp_path)])
    assert shown.exit_code == 1
    assert "holds no run" in shown.output
