"""Kubernetes accepts what `pangea launch --backend kubernetes` renders; the pods agree with infra/kubernetes."""

from __future__ import annotations

import copy
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner

from pangea.commands.main import main
from tests.infra.kubernetes.manifests import VERSIONS, Manifest, UniqueKeys, build, containers, pod

SCRIPT = "import pangea\n\nprint('quotes \" and # marks: - all of it')\n"
BY_HAND = {manifest["kind"]: manifest for manifest in build() if pod(manifest) is not None}
# The fields of a pod, of its container, and of a Job that have to be the same in both.
OF_POD = (
    "automountServiceAccountToken",
    "enableServiceLinks",
    "nodeSelector",
    "restartPolicy",
    "terminationGracePeriodSeconds",
)
OF_CONTAINER = ("ports", "securityContext", "imagePullPolicy")
OF_JOB = ("completionMode", "backoffLimitPerIndex", "podFailurePolicy")


def rendered(folder: Path, *options: str) -> list[Manifest]:
    """The manifests that the command prints for a run of this script."""
    (folder / "train.py").write_text(SCRIPT)
    (folder / "text.txt").write_text("abc")
    result = CliRunner().invoke(
        main,
        [
            "launch",
            "--backend",
            "kubernetes",
            "--render",
            "--run-dir",
            "first",
            *options,
            str(folder / "train.py"),
            "--",
            "--lr",
            "1",
        ],
    )
    assert result.exit_code == 0, result.output
    return [document for document in yaml.load_all(result.output, UniqueKeys) if document is not None]


@pytest.fixture(
    params=[
        [],
        ["--workers", "1", "--namespace", "there", "--allow-nondeterminism"],
        ["--data-claim", "mine", "--dataset", "text"],
    ],
    ids=["plain", "alone", "own data"],
)
def printed(request: pytest.FixtureRequest, tmp_path: Path) -> list[Manifest]:
    return rendered(
        tmp_path, *(f"text:{tmp_path}/text.txt,context=8" if word == "text" else word for word in request.param)
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_accepts_each_manifest(printed: list[Manifest], version: str) -> None:
    assert len(printed) > 10
    for manifest in printed:
        assert kubernetes_validate.validate(manifest, version, strict=True) == version


@pytest.mark.parametrize("version", VERSIONS)
def test_a_misspelt_field_of_any_manifest_is_refused(printed: list[Manifest], version: str) -> None:
    for manifest in printed:
        wrong = copy.deepcopy(manifest)
        (wrong["data"] if wrong["kind"] == "ConfigMap" else wrong["spec"])["misspelt"] = {}
        with pytest.raises(kubernetes_validate.ValidationError, match="misspelt|is not of type"):
            kubernetes_validate.validate(wrong, version, strict=True)


def test_no_two_manifests_have_the_same_name(printed: list[Manifest]) -> None:
    assert len({(manifest["kind"], manifest["metadata"]["name"]) for manifest in printed}) == len(printed)


def test_pods_agree_with_those_of_infra_kubernetes(printed: list[Manifest]) -> None:
    made = {manifest["kind"]: manifest for manifest in printed if pod(manifest) is not None}
    assert made.keys() == BY_HAND.keys()
    for kind, manifest in made.items():
        ours, theirs = pod(manifest), pod(BY_HAND[kind])
        assert ours is not None and theirs is not None
        assert {key: ours.get(key) for key in OF_POD} == {key: theirs.get(key) for key in OF_POD}
        (one,), (other,) = containers(manifest), containers(BY_HAND[kind])
        assert {key: one[key] for key in OF_CONTAINER} == {key: other[key] for key in OF_CONTAINER}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert one[probe]["httpGet"] == other[probe]["httpGet"]
        assert one["resources"]["limits"]["memory"] == other["resources"]["limits"]["memory"]
        assert theirs["securityContext"].items() <= ours["securityContext"].items()
    assert {key: made["Job"]["spec"][key] for key in OF_JOB} == {key: BY_HAND["Job"]["spec"][key] for key in OF_JOB}
