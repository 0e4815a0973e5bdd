"""A run of a release before content hashes resumes with this one, is audited, and ends with the bits of then.

old_runs/format-2 was made by the release of ledger format 2: it trained old_runs/training.py with 2 workers, at
`--epochs 1 --arithmetic avx2 --checkpoint-steps 4 --keep-checkpoints 1 --verify-fraction 0.2`, and all of its processes
were killed in step 10 of 23. That release also trained the whole run undisturbed.
"""

import hashlib
import json
import shutil
from pathlib import Path

from pangea.ledger.reader import Finished, Model, Settings
from tests.harness.command import pangea
from tests.harness.content_hash import trained_tensors
from tests.harness.launched import launched

SCRIPT = Path(__file__).with_name("old_runs") / "training.py"
STEPS = 23
# SHA-256 of the parameters after the run that the earlier release trained undisturbed.
FINAL = "e029ae21e4e051cca74ad61aac8df0cdc014cab959822387b4dae363bfb11223"


def restore(run_dir: Path) -> None:
    """Puts the files of the old run into a folder, as a person who continues it on another machine."""
    shutil.copytree(SCRIPT.with_name("format-2"), run_dir)
    for path in [run_dir, *run_dir.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    (run_dir / "logs").mkdir()
    launch = json.loads((run_dir / "launch.json").read_text())
    launch |= {"script": str(SCRIPT), "script_sha256": hashlib.sha256(SCRIPT.read_bytes()).hexdigest()}
    (run_dir / "launch.json").write_text(json.dumps(launch))


def test_an_old_run_can_be_audited_as_it_is(tmp_path: Path) -> None:
    run_dir = tmp_path / "format-2"
    restore(run_dir)
    result = pangea(tmp_path, "audit", str(run_dir))
    assert result.returncode == 0, result.stdout + result.stderr


def test_an_old_run_resumes_to_the_bits_of_then(tmp_path: Path) -> None:
    run_dir = tmp_path / "format-2"
    restore(run_dir)
    before = (run_dir / "ledger.jsonl").read_text().splitlines()[2:]
    with launched(run_dir, ["train", "--resume", str(run_dir)]) as command:
        command.wait_exit(0)
    # From the checkpoint of step 8 on; 8 and 9 were committed, so their sums are compared with the ledger's.
    assert command.computed() == {*range(8, STEPS)}
    assert command.read("run.json")["resumed_from"]["steps_again"] == 2
    ((settings,), (model,), (finished,)) = (command.records(kind) for kind in (Settings, Model, Finished))
    assert (settings.format, settings.content_hash) == (2, "sha256")
    assert command.read("run.json")["content_hash"] == "sha256"
    assert (run_dir / "ledger.jsonl").read_text().splitlines()[2:][: len(before)] == before, "the past has changed"
    assert finished.steps == STEPS and finished.params_hash == FINAL
    weights = b"".join(trained_tensors(run_dir / "final.safetensors", model))
    assert hashlib.sha256(weights).hexdigest() == FINAL
    command.audit()
    result = pangea(tmp_path, "audit", str(run_dir))
    assert result.returncode == 0, result.stdout + result.stderr
    # Without its checkpoints, of which the last one would be exported.
    shutil.rmtree(run_dir / "checkpoints")
    result = pangea(tmp_path, "export", str(run_dir), "-o", "weights.safetensors")
    assert result.returncode == 0, result.stderr
    assert f"{FINAL} (sha256), as the ledger says" in result.stdout
