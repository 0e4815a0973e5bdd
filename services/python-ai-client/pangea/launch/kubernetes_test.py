"""The manifests are consistent: every reference has its target."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from pangea.identity.authority import holder_of, read_certificate
from pangea.launch.identities import Identities
from pangea.launch.job import CannotLaunch, Job
from pangea.launch.kubernetes import Cluster, Manifest, manifests, render, secret_name, secrets
from pangea.launch.settings import Settings

_DATA = ("--listen=0.0.0.0:9090", "--http=0.0.0.0:9091")


@pytest.fixture
def job(tmp_path: Path) -> Job:
    script = tmp_path / "train.py"
    script.write_text("import pangea\n\nprint('first')\n")
    return Job(
        Settings(script, ("--lr", "1"), workers=3, data_replicas=2, epochs=4, seed=7), "first", Path("/not/used")
    )


def by_kind(objects: list[Manifest], kind: str, name: str = "") -> Manifest:
    (found,) = [item for item in objects if item["kind"] == kind and item["metadata"]["name"].endswith(name)]
    return found


def pods(objects: list[Manifest]) -> list[Manifest]:
    return [item["spec"]["template"] for item in objects if "template" in item.get("spec", {})]


def test_the_yaml_parses_to_the_manifests_and_has_the_script_unchanged(job: Job) -> None:
    read = list(yaml.safe_load_all(render(job, Cluster())))
    assert read == manifests(job, Cluster())
    assert by_kind(read, "ConfigMap")["data"] == {"train.py": job.settings.script.read_text()}
    assert "&id" not in render(job, Cluster())


def test_every_object_has_a_unique_name_the_run_as_a_label_and_the_namespace(job: Job) -> None:
    objects = manifests(job, Cluster(namespace="here"))
    names = [(item["kind"], item["metadata"]["name"]) for item in objects]
    assert len(set(names)) == len(names)
    for item in objects:
        assert item["metadata"]["labels"]["app.kubernetes.io/instance"] == "first"
        assert item["metadata"]["namespace"] == "here"
    assert all("namespace" not in item["metadata"] for item in manifests(job, Cluster()))


def test_each_selector_matches_one_component_and_each_port_name_exists_there(job: Job) -> None:
    objects = manifests(job, Cluster())

    def selected(labels: dict[str, str]) -> list[Manifest]:
        return [pod for pod in pods(objects) if labels.items() <= pod["metadata"]["labels"].items()]

    for item in objects:
        if item["kind"] in ("StatefulSet", "Deployment", "PodDisruptionBudget"):
            assert len(selected(item["spec"]["selector"]["matchLabels"])) == 1, item
        if item["kind"] == "Service":
            (pod,) = selected(item["spec"]["selector"])
            ports = {port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}
            assert all(ports[port["targetPort"]] == port["port"] for port in item["spec"]["ports"])
        if item["kind"] == "NetworkPolicy":
            assert len(selected(item["spec"]["podSelector"]["matchLabels"])) == (
                3 if item["spec"]["policyTypes"] == ["Egress"] else 1
            )
    assert len(pods(objects)) == 3


def test_workers_alone_ask_for_whole_gpus(job: Job) -> None:
    asking = dataclasses.replace(job, settings=dataclasses.replace(job.settings, gpus_per_worker=2))
    limits = {
        pod["spec"]["containers"][0]["name"]: pod["spec"]["containers"][0]["resources"]["limits"]
        for pod in pods(manifests(asking, Cluster()))
    }
    assert {name: found.get("nvidia.com/gpu") for name, found in limits.items()} == {
        "orchestrator": None,
        "data": None,
        "worker": 2,
    }
    half = dataclasses.replace(job, settings=dataclasses.replace(job.settings, gpus_per_worker=0.5))
    with pytest.raises(CannotLaunch, match="whole GPUs"):
        manifests(half, Cluster())


def test_pods_are_unprivileged_and_mount_only_what_exists(job: Job) -> None:
    objects = manifests(job, Cluster())
    claims = {item["metadata"]["name"] for item in objects if item["kind"] == "PersistentVolumeClaim"}
    for pod in pods(objects):
        (container,) = pod["spec"]["containers"]
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert pod["spec"]["securityContext"]["runAsUser"] == 65532
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        if container["name"] == "orchestrator":
            volumes["runs"] = {}
        identity = volumes["identity"]["projected"]["sources"]
        assert {source["secret"]["name"] for source in identity} == {f"first-{container['name']}-identity"}
        assert [item["path"] for item in identity[0]["secret"]["items"]] == [
            "authority.pem",
            "certificate.pem",
            "key.pem",
        ]
        assert {mount["name"] for mount in container.get("volumeMounts", [])} == set(volumes)
        assert {
            volume["persistentVolumeClaim"]["claimName"]
            for volume in volumes.values()
            if "persistentVolumeClaim" in volume
        } <= claims


def test_workers_get_the_addresses_of_the_services_and_the_script(job: Job) -> None:
    objects = manifests(job, Cluster(images="registry.example/team", tag="v1"))
    workers = by_kind(objects, "Job")["spec"]
    assert (workers["completions"], workers["parallelism"], workers["completionMode"]) == (3, 3, "Indexed")
    (container,) = workers["template"]["spec"]["containers"]
    assert container["image"] == "registry.example/team/python-ai-client:v1"
    assert container["args"] == ["worker", "/script/train.py", "--", "--lr", "1"]
    environment = {entry["name"]: entry.get("value") for entry in container["env"]}
    services = {
        f"{item['metadata']['name']}:{item['spec']['ports'][0]['port']}"
        for item in objects
        if item["kind"] == "Service"
    }
    assert {environment["PANGEA_ORCHESTRATOR"], environment["PANGEA_DATA"]} == services
    assert environment["PANGEA_SEED"] == "7"
    (orchestrator,) = by_kind(objects, "StatefulSet")["spec"]["template"]["spec"]["containers"]
    assert "--epochs=4" in orchestrator["args"]
    assert by_kind(objects, "Deployment")["spec"]["replicas"] == 2


def data_container(objects: list[Manifest]) -> dict[str, Any]:
    (container,) = by_kind(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    return dict(container)


def test_the_digits_are_in_the_image_and_other_data_comes_from_a_claim(job: Job, tmp_path: Path) -> None:
    assert "args" not in data_container(manifests(job, Cluster()))
    text = tmp_path / "a.txt"
    text.write_text("abc")
    job = Job(Settings(job.settings.script, dataset=f"text:{text},context=8"), "first", job.run_dir)
    with pytest.raises(CannotLaunch, match="--data-claim"):
        manifests(job, Cluster())
    container = data_container(manifests(job, Cluster(data_claim="mine")))
    assert container["args"][0] == "--dataset=text:/data/a.txt,context=8,held_out=0.1"
    assert tuple(container["args"][1:]) == _DATA


def test_with_the_longest_name_the_labels_of_all_pods_are_short_enough(job: Job) -> None:
    objects = manifests(Job(job.settings, "x" * 39, job.run_dir), Cluster())
    # controller-revision-hash: the name, - and a 32-bit number.
    assert len(f"{by_kind(objects, 'StatefulSet')['metadata']['name']}-{1 << 31}") == 63
    assert all(len(item["metadata"]["name"]) < 63 for item in objects)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("my script.py", "", "rename it"),
        ("large.py", "#" * 250_000, "250002 bytes"),
        ("quotes.py", '"' * 130_000, "260002 bytes"),
    ],
)
def test_a_script_that_does_not_fit_a_config_map_is_refused(
    job: Job, tmp_path: Path, name: str, text: str, reason: str
) -> None:
    script = tmp_path / name
    script.write_text(text)
    with pytest.raises(CannotLaunch, match=reason):
        manifests(Job(Settings(script), "first", job.run_dir), Cluster())


@pytest.mark.parametrize("name", ["First", "1st", "a_b", "x" * 40, ""])
def test_a_run_name_that_is_invalid_in_kubernetes_is_refused(job: Job, name: str) -> None:
    with pytest.raises(CannotLaunch, match="--run-dir"):
        manifests(Job(job.settings, name, job.run_dir), Cluster())


def environment(pod: Manifest) -> dict[str, str]:
    (container,) = pod["spec"]["containers"]
    return {entry["name"]: entry.get("value", "") for entry in container["env"]}


def test_services_speak_tls_and_keep_others_out_unless_that_is_not_wanted(job: Job) -> None:
    for secure in (True, False):
        for pod in pods(manifests(job, Cluster(secure=secure))):
            (container,) = pod["spec"]["containers"]
            found, variables = container["livenessProbe"]["httpGet"], environment(pod)
            assert ("PANGEA_IDENTITY" in variables, variables.get("PANGEA_INSECURE")) == (
                secure,
                None if secure else "1",
            )
            assert (found.get("scheme") == "HTTPS") == secure
            assert any(volume["name"] == "identity" for volume in pod["spec"]["volumes"]) == secure


def test_the_secrets_are_those_that_the_pods_name_and_are_not_rendered(job: Job) -> None:
    cluster = Cluster(namespace="there")
    made = secrets(job, cluster, Identities("first", ()))
    assert [secret["metadata"]["name"] for secret in made] == [
        secret_name(job, component) for component in ("orchestrator", "data", "worker")
    ]
    assert all(secret["metadata"]["namespace"] == "there" for secret in made)
    uris = [str(holder_of(read_certificate(secret["stringData"]["tls.crt"].encode())).uri) for secret in made]
    assert uris == [
        "pangea://first/orchestrator/go-orchestrator",
        "pangea://first/data/rust-compute",
        "pangea://first/worker/*",
    ]
    assert [set(secret["stringData"]) for secret in made] == [
        {"ca.crt", "tls.crt", "tls.key", "revoked.pem", "token"},
        {"ca.crt", "tls.crt", "tls.key", "revoked.pem", "token"},
        {"ca.crt", "tls.crt", "tls.key", "revoked.pem"},
    ]
    assert "PRIVATE KEY" not in render(job, cluster)


def test_a_script_with_a_dataset_of_its_own_has_no_data_service(job: Job) -> None:
    own = dataclasses.replace(job, settings=dataclasses.replace(job.settings, data_replicas=0))
    objects = manifests(own, Cluster())
    assert not [item for item in objects if "data" in item["metadata"]["name"].split("-")]
    containers = [pod["spec"]["containers"][0] for pod in pods(objects)]
    (worker,) = [container for container in containers if container["name"] == "worker"]
    assert "PANGEA_DATA" not in {variable["name"] for variable in worker["env"]}
    assert len(manifests(job, Cluster())) == len(objects) + 4
