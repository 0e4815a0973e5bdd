"""A script that is simply started, with no address given, brings orchestrator and data service with it."""

import contextlib
import json
import subprocess
from pathlib import Path

from pangea.places import python_command, python_environment

SCRIPT = """
import os, torch, pangea
pangea.seed_everything()
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
run = pangea.join(model, torch.optim.SGD(model.parameters(), lr=0.1), epochs=1, run_dir="run")
for batch in run.batches():
    run.step(torch.nn.functional.cross_entropy(model(batch.x), batch.y))
run.finish(pid=os.getpid())
"""


def test_a_script_without_addresses_runs_alone_and_leaves_no_process(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = {name: value for name, value in python_environment().items() if name not in ("PANGEA_ORCHESTRATOR", "PANGEA_DATA", "PANGEA_RUN_DIR")}
    environment["BUILD_WORKING_DIRECTORY"] = str(tmp_path)
    ended = subprocess.run(python_command(tmp_path / "script.py"), env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert ended.returncode == 0, ended.stderr
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (run["state"], run["steps"]) == ("finished", run["total_steps"])
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == run["total_steps"]
    assert (tmp_path / "run" / "final.safetensors").stat().st_size > 640 * 4
    assert list((tmp_path / "run" / "checkpoints").glob("*.safetensors")), "a run without a launcher takes checkpoints too"
    assert not [command for command in command_lines() if str(tmp_path).encode() in command], "a service outlived its run"


def command_lines() -> list[bytes]:
    """Of all processes that this one sees."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        # It may end while it is looked at.
        with contextlib.suppress(OSError):
            found.append(entry.read_bytes())
    return found


# This thread's own children: first both services, then the one that was not killed.
KILLED = SCRIPT.replace(
    "for batch in run.batches():",
    """import pathlib, signal
children = pathlib.Path(f"/proc/self/task/{os.getpid()}/children")
kill_at = {3, 7}
for batch in run.batches():
    if batch.step in kill_at:
        kill_at.remove(batch.step)
        service = children.read_text().split()[0]
        os.kill(int(service), signal.SIGKILL)""",
)


def test_killed_services_of_a_script_that_runs_alone_are_started_again(tmp_path: Path) -> None:
    hashes = []
    for name, text in (("whole", SCRIPT), ("killed", KILLED)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "script.py").write_text(text)
        environment = {**python_environment(), "BUILD_WORKING_DIRECTORY": str(folder)}
        ended = subprocess.run(python_command(folder / "script.py"), env=environment, capture_output=True, text=True, timeout=200, check=False)
        assert ended.returncode == 0, ended.stderr
        assert ended.stderr.count("started again") == (2 if name == "killed" else 0), ended.stderr
        hashes.append([json.loads(line)["params_hash"] for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()])
    assert hashes[0] == hashes[1]


# Asks for a checkpoint, to the whole group as a cluster does, and waits at the next batch until it is there; then has itself stopped.
SIGNALLED = SCRIPT.replace(
    "for batch in run.batches():",
    """import pathlib, signal
from pangea.services.child import wait_for
for batch in run.batches():
    if batch.step == 3:
        os.kill(os.getpid(), signal.SIGUSR1)
        before = set(pathlib.Path("run/checkpoints").glob("*.safetensors"))
    if batch.step == 6:
        assert wait_for(lambda: set(pathlib.Path("run/checkpoints").glob("*.safetensors")) - before or None, 60), "no checkpoint"
        os.kill(os.getpid(), signal.SIGHUP)""",
)


def test_a_script_that_runs_alone_takes_a_checkpoint_on_sigusr1_and_leaves_on_sighup(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SIGNALLED)
    environment = {**python_environment(), "BUILD_WORKING_DIRECTORY": str(tmp_path)}
    ended = subprocess.run(python_command(tmp_path / "script.py"), env=environment, capture_output=True, text=True, timeout=200, check=False, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "was killed" not in ended.stderr
    assert json.loads((tmp_path / "run" / "run.json").read_text())["state"] == "stopped"
