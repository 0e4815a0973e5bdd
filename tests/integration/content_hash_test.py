"""The hashes in the files of a run are what docs/reference/ledger.md says: computable without our code."""

import shutil
from pathlib import Path

from pangea.ledger.reader import Finished, Model, Settings
from tests.harness.cluster import Cluster
from tests.harness.command import pangea
from tests.harness.content_hash import content_hash, trained_tensors


def test_the_final_hash_is_the_content_hash_of_the_exported_parameters(alone: Cluster, tmp_path: Path) -> None:
    ((settings,), (model,), (finished,)) = (alone.records(kind) for kind in (Settings, Model, Finished))
    assert (settings.format, settings.content_hash) == (3, "xxh3Tree")
    run_dir, exported = tmp_path / "run", tmp_path / "weights.safetensors"
    # Without its checkpoints, of which the last one would be exported; and a socket cannot be copied.
    shutil.copytree(alone.run_dir, run_dir, ignore=shutil.ignore_patterns("checkpoints", "*.sock"))
    result = pangea(tmp_path, "export", str(run_dir), "-o", str(exported))
    assert result.returncode == 0, result.stderr
    assert f"{finished.params_hash} (xxh3Tree), as the ledger says" in result.stdout
    expected = content_hash(trained_tensors(exported, model))
    assert expected == finished.params_hash == alone.hashes()[-1]
    assert expected == alone.read("run.json")["params_hash"] == alone.read("result.json")["params_hash"]
    assert alone.read("run.json")["content_hash"] == "xxh3Tree"
