"""The manifests of infra/kubernetes are valid and confined, and their parts find each other.

programs_test.py compares them with the programs.
"""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from tests.infra.kubernetes.manifests import FOLDER, VERSIONS, Manifest, build, containers, pod, pod_labels, pods, read

BUILT = build()
(READER,) = read(FOLDER / "reader.yaml")
PODS = pods(BUILT)

# The ports of the images: container -> name -> port.
PORTS = {
    "go-orchestrator": {"workers": 8080, "http": 8081},
    "rust-compute": {"workers": 9090, "http": 9091},
    "python-worker": {"http": 8082},
}


def name(manifest: Manifest) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def of_kind(kind: str) -> list[Manifest]:
    return [manifest for manifest in BUILT if manifest["kind"] == kind]


def selected(selector: Manifest) -> list[Manifest]:
    """The manifests whose pods a label selector matches."""

    def matches(labels: dict[str, str]) -> bool:
        return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
            expression["operator"] == "In" and labels.get(expression["key"]) in expression["values"]
            for expression in selector.get("matchExpressions", [])
        )

    return [manifest for manifest in PODS if matches(pod_labels(manifest))]


def ports(manifest: Manifest) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for container in containers(manifest) for port in container["ports"]}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("manifest", [*BUILT, READER], ids=name)
def test_kubernetes_accepts_a_manifest(manifest: Manifest, version: str) -> None:
    assert kubernetes_validate.validate(manifest, version, strict=True) == version


def test_the_schemas_refuse_a_misspelt_field() -> None:
    (wrong,) = copy.deepcopy(of_kind("StatefulSet"))
    containers(wrong)[0]["livenesProbe"] = {}
    for version in VERSIONS:
        with pytest.raises(kubernetes_validate.ValidationError, match="livenesProbe"):
            kubernetes_validate.validate(wrong, version, strict=True)


def test_all_files_but_two_are_part_of_the_run() -> None:
    (kustomization,) = read(FOLDER / "kustomization.yaml")
    assert {file.name for file in FOLDER.glob("*.yaml")} == {
        *kustomization["resources"],
        "kustomization.yaml",
        "one-pod.yaml",
        "reader.yaml",
    }
    assert len({name(manifest) for manifest in BUILT}) == len(BUILT)


def test_images_name_no_registry() -> None:
    assert [container["image"] for manifest in PODS for container in containers(manifest)] == [
        "pangea/go-orchestrator:latest",
        "pangea/rust-compute:latest",
        "pangea/python-ai-client:latest",
    ]


def test_there_are_one_orchestrator_with_a_volume_replicas_of_the_data_service_and_indexed_workers() -> None:
    orchestrator, data, workers = (manifest["spec"] for manifest in PODS)
    assert [manifest["kind"] for manifest in PODS] == ["StatefulSet", "Deployment", "Job"]
    assert orchestrator["replicas"] == 1
    (claim,) = orchestrator["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == containers(PODS[0])[0]["volumeMounts"][0]["name"]
    assert orchestrator["serviceName"] in {
        service["metadata"]["name"] for service in of_kind("Service") if service["spec"].get("clusterIP") == "None"
    }
    assert data["replicas"] >= 2
    assert workers["completionMode"] == "Indexed" and workers["completions"] == workers["parallelism"] >= 2


def test_a_worker_whose_node_is_drained_counts_neither_as_completed_nor_as_failed() -> None:
    # programs_test.py shows that its exit code is not 0; only then does Kubernetes apply these rules.
    (job,) = of_kind("Job")
    assert job["spec"]["podFailurePolicy"] == {
        "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
    }
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"


@pytest.mark.parametrize("manifest", [*PODS, READER], ids=name)
def test_a_pod_has_no_rights_and_has_limits(manifest: Manifest) -> None:
    spec = pod(manifest)
    assert spec is not None
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    context = spec["securityContext"]
    assert (context["runAsNonRoot"], context["runAsUser"], context["runAsGroup"]) == (True, 65532, 65532)
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    # The runtime's own where there is AppArmor; a pod that names a profile is refused where there is none.
    assert "appArmorProfile" not in context
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    kinds = {"persistentVolumeClaim", "emptyDir", "projected"}
    assert all(kinds & volume.keys() for volume in spec.get("volumes", []))
    for container in containers(manifest):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"].keys() == {"cpu", "memory", "ephemeral-storage"}


def test_the_namespace_admits_no_pods_with_more_rights() -> None:
    (namespace,) = of_kind("Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("manifest", PODS, ids=name)
def test_ports_and_probes_are_those_of_the_image(manifest: Manifest) -> None:
    (container,) = containers(manifest)
    assert ports(manifest) == PORTS[container["name"]]
    probes = {kind: container[kind]["httpGet"] for kind in ("startupProbe", "livenessProbe", "readinessProbe")}
    # With an identity, pages speak TLS beyond the loopback.
    tls = {"scheme": "HTTPS"}
    assert probes == {
        "startupProbe": {"path": "/healthz", "port": "http", **tls},
        "livenessProbe": {"path": "/healthz", "port": "http", **tls},
        "readinessProbe": {"path": "/readyz", "port": "http", **tls},
    }


@pytest.mark.parametrize(
    ("manifest", "role"), list(zip(PODS, ("orchestrator", "data", "worker"), strict=True)), ids=["0", "1", "2"]
)
def test_each_pod_has_the_identity_of_its_role(manifest: Manifest, role: str) -> None:
    (container,) = containers(manifest)
    spec = pod(manifest)
    assert spec is not None
    assert {"name": "PANGEA_IDENTITY", "value": "/identity"} in container["env"]
    assert {"name": "identity", "mountPath": "/identity", "readOnly": True} in container["volumeMounts"]
    (volume,) = [volume for volume in spec["volumes"] if volume["name"] == "identity"]
    required, optional = (source["secret"] for source in volume["projected"]["sources"])
    assert required["name"] == optional["name"] == f"{role}-identity"
    # The names of a Secret of cert-manager, and those of an identity directory.
    assert {item["key"]: item["path"] for item in required["items"]} == {
        "ca.crt": "authority.pem",
        "tls.crt": "certificate.pem",
        "tls.key": "key.pem",
    }
    assert optional["optional"] and {item["path"] for item in optional["items"]} == {"revoked.pem", "token"}
    # Without it the process, which is not root, could not read its key.
    assert spec["securityContext"]["fsGroup"] == 65532 and volume["projected"]["defaultMode"] == 0o440


def test_the_memory_of_go_is_below_the_limit_of_its_container() -> None:
    (container,) = containers(PODS[0])
    assert {"name": "GOMEMLIMIT", "value": "4608MiB"} in container["env"]
    assert container["resources"]["limits"]["memory"] == "5Gi"


@pytest.mark.parametrize("service", of_kind("Service"), ids=name)
def test_a_service_points_at_ports_of_pods(service: Manifest) -> None:
    (behind,) = selected({"matchLabels": service["spec"]["selector"]})
    for port in service["spec"]["ports"]:
        assert ports(behind)[port["targetPort"]] == port["port"]


@pytest.mark.parametrize("manifest", PODS, ids=name)
def test_a_pod_is_selected_by_its_owner_and_by_one_disruption_budget_if_there_are_several(manifest: Manifest) -> None:
    if manifest["kind"] != "Job":
        assert selected(manifest["spec"]["selector"]) == [manifest]
    budgets = [budget for budget in of_kind("PodDisruptionBudget") if manifest in selected(budget["spec"]["selector"])]
    assert len(budgets) == (0 if manifest["kind"] == "StatefulSet" else 1)
    # A minimum as large as the number of pods would block the drain of any node.
    for budget in budgets:
        assert budget["spec"].get("minAvailable", 0) < manifest["spec"].get("completions", 2)


def test_traffic_is_denied_unless_a_policy_allows_it() -> None:
    closing = [policy for policy in of_kind("NetworkPolicy") if set(policy["spec"]) == {"podSelector", "policyTypes"}]
    (policy,) = closing
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert selected(policy["spec"]["podSelector"]) == PODS


def test_workers_may_reach_the_services_and_prometheus_may_reach_all_pods() -> None:
    opened: set[tuple[str, str, int]] = set()
    for policy in of_kind("NetworkPolicy"):
        for to in selected(policy["spec"]["podSelector"]):
            for rule in policy["spec"].get("ingress", []):
                for source in rule["from"]:
                    # A sender that is not part of the run goes by the name in the policy.
                    who = [name(manifest) for manifest in selected(source["podSelector"])] or [
                        source["podSelector"]["matchLabels"]["app.kubernetes.io/name"]
                    ]
                    opened |= {(sender, name(to), ports(to)[port["port"]]) for sender in who for port in rule["ports"]}
    assert opened == {
        ("Job/python-worker", "StatefulSet/go-orchestrator", 8080),
        ("Job/python-worker", "Deployment/rust-compute", 9090),
        ("prometheus", "StatefulSet/go-orchestrator", 8081),
        ("prometheus", "Deployment/rust-compute", 9091),
        ("prometheus", "Job/python-worker", 8082),
    }


def test_only_workers_open_connections_to_the_services_and_to_dns() -> None:
    opened: set[tuple[str, str, int]] = set()
    for policy in of_kind("NetworkPolicy"):
        for rule in policy["spec"].get("egress", []):
            receivers = [name(manifest) for to in rule.get("to", []) for manifest in selected(to["podSelector"])] or [
                "anyone"
            ]
            opened |= {
                (name(sender), receiver, port["port"])
                for sender in selected(policy["spec"]["podSelector"])
                for receiver in receivers
                for port in rule["ports"]
            }
    worker = "Job/python-worker"
    assert opened == {
        (worker, "StatefulSet/go-orchestrator", 8080),
        (worker, "Deployment/rust-compute", 9090),
        (worker, "anyone", 53),
    }


def test_volumes_exist() -> None:
    claims = {claim["metadata"]["name"] for claim in of_kind("PersistentVolumeClaim")}
    ordinal = f"{PODS[0]['spec']['volumeClaimTemplates'][0]['metadata']['name']}-{PODS[0]['metadata']['name']}-0"
    for manifest in [*PODS, READER]:
        spec = pod(manifest)
        assert spec is not None
        volumes: list[dict[str, Any]] = spec.get("volumes", [])
        assert {
            volume["persistentVolumeClaim"]["claimName"] for volume in volumes if "persistentVolumeClaim" in volume
        } <= claims | {ordinal}
        named = {volume["name"] for volume in volumes} | {
            claim["metadata"]["name"] for claim in manifest["spec"].get("volumeClaimTemplates", [])
        }
        assert {
            mount["name"] for container in containers(manifest) for mount in container.get("volumeMounts", [])
        } == named


@pytest.mark.parametrize(
    ("file", "change", "named"),
    [
        ("kustomization.yaml", ("resources:", "resource:"), "resource"),
        ("kustomization.yaml", ("data.yaml", "gone.yaml"), "gone.yaml"),
        ("orchestrator.yaml", ("replicas: 1", "replicas: 1\n  replicas: 2"), "already defined"),
    ],
)
def test_kustomize_refuses_mistakes(file: str, change: tuple[str, str], named: str, tmp_path: Path) -> None:
    copied = tmp_path / "kubernetes"
    shutil.copytree(FOLDER, copied)
    text = (copied / file).read_text()
    assert change[0] in text
    (copied / file).unlink()
    (copied / file).write_text(text.replace(*change))
    with pytest.raises(ValueError, match=named):
        build(copied)
