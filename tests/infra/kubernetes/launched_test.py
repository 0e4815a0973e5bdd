"""What `pangea launch --backend kubernetes` makes is what Kubernetes takes; its own unit test holds the parts against each other."""

from __future__ import annotations

from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner

from pangea.cli import main
from tests.infra.kubernetes.manifests import VERSIONS, UniqueKeys

PLAIN = ["--workers", "4"]
ALL = ["--workers", "1", "--data-replicas", "3", "--namespace", "team", "--dataset", "csv:{folder}/points.csv,shape=2", "--data-claim", "points", "--allow-nondeterminism"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("options", [PLAIN, ALL], ids=["plain", "all"])
def test_kubernetes_takes_it(options: list[str], version: str, tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("1,2,0\n")
    words = [word.format(folder=tmp_path) for word in options]
    launched = CliRunner().invoke(main, ["launch", "--backend", "kubernetes", "--run-dir", "first", "--render", *words])
    assert launched.exit_code == 0, launched.output
    manifests = list(yaml.load_all(launched.output, UniqueKeys))
    assert {manifest["kind"] for manifest in manifests} >= {"StatefulSet", "Deployment", "Job", "Service", "NetworkPolicy"}
    for manifest in manifests:
        assert kubernetes_validate.validate(manifest, version, strict=True) == version
