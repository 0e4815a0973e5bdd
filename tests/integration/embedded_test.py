"""A script that is started without addresses starts an orchestrator and a data service itself."""

import os
from pathlib import Path

from tests.harness.command import run_python
from tests.harness.processes import find_processes
from tests.harness.run_files import RunFiles

SCRIPT = """
import os, torch, pangea
pangea.seed_everything()
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
run = pangea.join(model, torch.optim.SGD(model.parameters(), lr=0.1), epochs=1, run_dir="run")
for batch in run.batches():
    run.step(torch.nn.functional.cross_entropy(model(batch.x), batch.y))
run.finish(pid=os.getpid())
"""


def run_alone(folder: Path, script: str) -> tuple[RunFiles, str]:
    """Runs a script in a folder without a launcher; gives its run and what it printed to stderr."""
    folder.mkdir(exist_ok=True)
    (folder / "script.py").write_text(script)
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PANGEA_ORCHESTRATOR", "PANGEA_DATA", "PANGEA_RUN_DIR")
    }
    ended = run_python(folder, "script.py", environment=environment)
    assert ended.returncode == 0, ended.stderr
    return RunFiles(folder / "run"), ended.stderr


def test_a_script_without_addresses_runs_alone_and_leaves_no_process(tmp_path: Path) -> None:
    run, _ = run_alone(tmp_path, SCRIPT)
    record = run.read("run.json")
    assert (record["state"], record["steps"]) == ("finished", record["total_steps"])
    assert len(run.hashes()) == record["total_steps"]
    assert len(run.final()) > 640 * 4
    assert run.checkpoints(), "a run without a launcher takes checkpoints too"
    assert not find_processes(lambda command, _: str(tmp_path).encode() in command), "a service outlived its run"


# Kills a child of the script's main thread: at first there are both services, later the one that is left.
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


def test_killed_services_of_a_script_that_runs_alone_are_restarted(tmp_path: Path) -> None:
    whole, said = run_alone(tmp_path / "whole", SCRIPT)
    assert said.count("started again") == 0, said
    killed, said = run_alone(tmp_path / "killed", KILLED)
    assert said.count("started again") == 2, said
    assert killed.hashes() == whole.hashes()


# Asks for a checkpoint, and to be stopped when it is there. A worker is asked for its state when it asks for work, so
# the script continues meanwhile.
SIGNALLED = SCRIPT.replace(
    "for batch in run.batches():",
    """import pathlib, signal
from pangea.services.child import wait_for
checkpoints = lambda: set(pathlib.Path("run/checkpoints").glob("*.safetensors"))
for batch in run.batches():
    if batch.step == 3:
        before = checkpoints()
        os.kill(os.getpid(), signal.SIGUSR1)
    if batch.step > 3 and wait_for(lambda: checkpoints() - before or None, 3):
        os.kill(os.getpid(), signal.SIGHUP)""",
)


def test_a_script_that_runs_alone_takes_a_checkpoint_on_sigusr1_and_leaves_on_sighup(tmp_path: Path) -> None:
    run, said = run_alone(tmp_path, SIGNALLED)
    assert "was killed" not in said
    assert run.read("run.json")["state"] == "stopped"
