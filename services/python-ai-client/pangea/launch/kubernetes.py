"""`--backend kubernetes`: the manifests of one run, for `kubectl apply -f -`; from there on the cluster keeps its processes alive.

One run has objects of its own, named after it, so that several share a namespace. infra/kubernetes has the same by hand, to be changed with kustomize.
"""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pangea import datasets
from pangea.launch.environment import training_environment
from pangea.launch.job import CannotLaunch, Job

Manifest = dict[str, Any]
# A name of Kubernetes. Behind the longest come "-orchestrator-" and ten digits: the label, of up to 63, that a StatefulSet gives to its pods.
_LONGEST_NAME = 39
_NAME = re.compile(rf"[a-z]([-a-z0-9]{{0,{_LONGEST_NAME - 2}}}[a-z0-9])?")
# As JSON: `kubectl apply` keeps what it was given in an annotation, which may have 256 KiB.
_LARGEST_SCRIPT_BYTES = 250_000
_USER = 65532
# What the image of the data service serves when it is given no arguments.
_IN_IMAGE = "digits"
_PROBE = {"periodSeconds": 2, "timeoutSeconds": 5}


@dataclass(frozen=True)
class Cluster:
    """Where the run goes.

    Attributes:
        namespace: that is there already; "" for kubectl's own.
        images: prefix of the three images' names.
        tag: of the images.
        data_claim: a PersistentVolumeClaim with a copy of the data file at its root; "" for the digits, which the image carries.
    """

    namespace: str = ""
    images: str = "pangea"
    tag: str = "latest"
    data_claim: str = ""


def manifests(job: Job, cluster: Cluster) -> list[Manifest]:
    """All objects of the run.

    Raises:
        CannotLaunch: naming what the cluster cannot be told.
    """
    if not _NAME.fullmatch(job.run_id):
        raise CannotLaunch(f"the run is called {job.run_id!r} after its --run-dir; in Kubernetes that has to be up to {_LONGEST_NAME} of a-z, 0-9 and -, beginning with a letter")
    return [
        _object(job, cluster, "v1", "ConfigMap", "script", {"data": {job.settings.script.name: _script(job)}}),
        _object(job, cluster, "v1", "PersistentVolumeClaim", "results", {"spec": _claim("ReadWriteMany", "1Gi")}),
        _orchestrator(job, cluster),
        _service(job, cluster, "orchestrator", 8080, headless=True),
        _data_service(job, cluster),
        _service(job, cluster, "data", 9090),
        _budget(job, cluster, "data", {"maxUnavailable": 1}),
        _workers(job, cluster),
        # A Job's pods take no maxUnavailable. With none left, the steps since the last checkpoint would be computed again.
        _budget(job, cluster, "worker", {"minAvailable": min(1, job.settings.workers - 1)}),
        *_policies(job, cluster),
    ]


def render(job: Job, cluster: Cluster) -> str:
    """The manifests as YAML."""
    return str(yaml.dump_all(manifests(job, cluster), Dumper=_Plain, sort_keys=False, explicit_start=True, width=180))


def apply(text: str) -> None:
    """Hands the manifests to the `kubectl` on PATH, which says what it did.

    Raises:
        CannotLaunch: there is no kubectl, or it refuses them.
    """
    try:
        code = subprocess.run(["kubectl", "apply", "-f", "-"], input=text, text=True, check=False).returncode
    except FileNotFoundError as error:
        raise CannotLaunch("there is no kubectl on PATH; install it, or pipe the output of --render to where it is") from error
    if code != 0:
        raise CannotLaunch(f"kubectl apply ended with exit code {code}; what it said stands above. What was made before that is still there: --render ... | kubectl delete -f -")


class _Plain(yaml.SafeDumper):  # type: ignore[misc]  # yaml has no types
    """YAML for people: no references, and a text of several lines as such."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Plain.add_representer(str, _text)


def _labels(job: Job, component: str) -> dict[str, str]:
    return {"app.kubernetes.io/part-of": "pangea", "app.kubernetes.io/instance": job.run_id, "app.kubernetes.io/component": component}


def _object(job: Job, cluster: Cluster, api: str, kind: str, component: str, body: Manifest) -> Manifest:
    metadata: Manifest = {"name": f"{job.run_id}-{component}", "labels": _labels(job, component)}
    if cluster.namespace:
        metadata["namespace"] = cluster.namespace
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **body}


def _script(job: Job) -> str:
    script = job.settings.script
    text = script.read_text()
    if not re.fullmatch(r"[-._a-zA-Z0-9]+", script.name):
        raise CannotLaunch(f"{script} is a key of a ConfigMap, in which it travels; rename it to letters, digits, - . and _")
    if (size := len(json.dumps(text))) > _LARGEST_SCRIPT_BYTES:
        raise CannotLaunch(
            f"{script} takes {size} bytes of a ConfigMap, in which it travels; `kubectl apply` takes up to {_LARGEST_SCRIPT_BYTES}. Move a part of it into a package of an image of yours (--images), or mount it (infra/kubernetes)"
        )
    return text


def _claim(access: str, size: str) -> Manifest:
    return {"accessModes": [access], "resources": {"requests": {"storage": size}}}


def _pod(job: Job, component: str, container: Manifest, volumes: list[Manifest], **more: Any) -> Manifest:
    """A pod with one container that may nothing but compute."""
    confined = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    user = {
        "runAsNonRoot": True,
        "runAsUser": _USER,
        "runAsGroup": _USER,
        "fsGroup": _USER,
        # Not each file of a volume at each start.
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return {
        "metadata": {"labels": _labels(job, component)},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "nodeSelector": {"kubernetes.io/arch": "amd64"},
            "securityContext": user,
            **more,
            "containers": [{"name": component, "imagePullPolicy": "IfNotPresent", **container, "securityContext": confined}],
            "volumes": volumes,
        },
    }


def _container(cluster: Cluster, image: str, ports: dict[str, int], memory: str) -> Manifest:
    """What all containers have: probes of its `http` port, and bounds."""
    alive, ready = ({"httpGet": {"path": path, "port": "http"}, **_PROBE} for path in ("/healthz", "/readyz"))
    return {
        "image": f"{cluster.images}/{image}:{cluster.tag}",
        "ports": [{"name": name, "containerPort": port} for name, port in ports.items()],
        # Reading a long ledger, the data or torch takes its time; only after that does silence mean anything.
        "startupProbe": {**alive, "failureThreshold": 60},
        "livenessProbe": {**alive, "failureThreshold": 6},
        "readinessProbe": ready,
        "resources": {"requests": {"cpu": "500m", "memory": "512Mi"}, "limits": {"cpu": "4", "memory": memory}},
    }


def _orchestrator(job: Job, cluster: Cluster) -> Manifest:
    arguments = ["--listen=0.0.0.0:8080", "--http=0.0.0.0:8081", "--run-dir=/runs/run", f"--run-id={job.run_id}", *job.settings.run_options.flags()]
    container = {
        **_container(cluster, "go-orchestrator", {"workers": 8080, "http": 8081}, "5Gi"),
        "args": arguments,
        "volumeMounts": [{"name": "runs", "mountPath": "/runs"}],
    }
    # It waits for a last checkpoint when it is asked to end.
    template = _pod(job, "orchestrator", container, [], terminationGracePeriodSeconds=60)
    spec = {
        "serviceName": f"{job.run_id}-orchestrator",
        "replicas": 1,
        "selector": {"matchLabels": _labels(job, "orchestrator")},
        "template": template,
        "volumeClaimTemplates": [{"metadata": {"name": "runs"}, "spec": _claim("ReadWriteOnce", "10Gi")}],
    }
    return _object(job, cluster, "apps/v1", "StatefulSet", "orchestrator", {"spec": spec})


def _data_service(job: Job, cluster: Cluster) -> Manifest:
    container = _container(cluster, "rust-compute", {"workers": 9090, "http": 9091}, "2Gi")
    volumes = []
    if job.settings.dataset != _IN_IMAGE:
        dataset = datasets.parse(job.settings.dataset)
        if not cluster.data_claim or dataset.file is None:
            raise CannotLaunch(f"the image carries only the digits; --dataset {job.settings.dataset} needs a file of yours and --data-claim NAME, a volume claim with a copy of it")
        copy = Path("/data") / dataset.file.name
        arguments = [f"--dataset={dataset.at(copy)}", "--listen=0.0.0.0:9090", "--http=0.0.0.0:9091"]
        container = {**container, "args": arguments, "volumeMounts": [{"name": "data", "mountPath": "/data", "readOnly": True}]}
        volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": cluster.data_claim, "readOnly": True}}]
    spec = {"replicas": job.settings.data_replicas, "selector": {"matchLabels": _labels(job, "data")}, "template": _pod(job, "data", container, volumes)}
    return _object(job, cluster, "apps/v1", "Deployment", "data", {"spec": spec})


def _workers(job: Job, cluster: Cluster) -> Manifest:
    environment = {
        "PANGEA_ORCHESTRATOR": f"{job.run_id}-orchestrator:8080",
        "PANGEA_DATA": f"{job.run_id}-data:9090",
        "PANGEA_HTTP": "0.0.0.0:8082",
        "PANGEA_RUN_DIR": "/results",
        **training_environment(job.settings),
    }
    container = {
        **_container(cluster, "python-ai-client", {"http": 8082}, "2Gi"),
        "args": ["worker", f"/script/{job.settings.script.name}", *(["--", *job.settings.arguments] if job.settings.arguments else [])],
        "env": [
            *({"name": name, "value": value} for name, value in environment.items()),
            {"name": "PANGEA_WORKER_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
        "volumeMounts": [
            {"name": "script", "mountPath": "/script", "readOnly": True},
            {"name": "results", "mountPath": "/results"},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    volumes = [
        {"name": "script", "configMap": {"name": f"{job.run_id}-script"}},
        {"name": "results", "persistentVolumeClaim": {"claimName": f"{job.run_id}-results"}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
    ]
    spec = {
        "completionMode": "Indexed",
        "completions": job.settings.workers,
        "parallelism": job.settings.workers,
        # A worker that ends with an error is tried again some times, and takes no other one with it.
        "backoffLimitPerIndex": 6,
        # A drained or lost node is no fault of the worker, which leaves with 143 then; with 0 its index would be complete.
        "podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]},
        "template": _pod(job, "worker", container, volumes, restartPolicy="Never"),
    }
    return _object(job, cluster, "batch/v1", "Job", "worker", {"spec": spec})


def _service(job: Job, cluster: Cluster, component: str, port: int, *, headless: bool = False) -> Manifest:
    # The name of a headless one leads to the pod's own address, which is asked anew at each connection; a StatefulSet needs one.
    spec = {"selector": _labels(job, component), "ports": [{"name": "workers", "port": port, "targetPort": "workers"}], **({"clusterIP": "None"} if headless else {})}
    return _object(job, cluster, "v1", "Service", component, {"spec": spec})


def _budget(job: Job, cluster: Cluster, component: str, bound: dict[str, int]) -> Manifest:
    spec = {**bound, "unhealthyPodEvictionPolicy": "AlwaysAllow", "selector": {"matchLabels": _labels(job, component)}}
    return _object(job, cluster, "policy/v1", "PodDisruptionBudget", component, {"spec": spec})


def _policies(job: Job, cluster: Cluster) -> list[Manifest]:
    """Only the run's own workers speak to its services: there is no encryption yet. Health and metrics are open to the namespace; probes come from the node."""
    whole_run = {key: value for key, value in _labels(job, "").items() if value}
    ports = {"orchestrator": (8080, 8081), "data": (9090, 9091), "worker": (None, 8082)}
    found = []
    for component, (messages, http) in ports.items():
        ingress: list[Manifest] = [{"from": [{"podSelector": {}}], "ports": [{"port": http}]}]
        if messages is not None:
            ingress.insert(0, {"from": [{"podSelector": {"matchLabels": _labels(job, "worker")}}], "ports": [{"port": messages}]})
        spec: Manifest = {"podSelector": {"matchLabels": _labels(job, component)}, "policyTypes": ["Ingress"], "ingress": ingress}
        found.append(_object(job, cluster, "networking.k8s.io/v1", "NetworkPolicy", component, {"spec": spec}))
    services = [{"podSelector": {"matchLabels": whole_run}}]
    outgoing: list[Manifest] = [{"to": services, "ports": [{"port": 8080}, {"port": 9090}]}, {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}]
    spec = {"podSelector": {"matchLabels": whole_run}, "policyTypes": ["Egress"], "egress": outgoing}
    found.append(_object(job, cluster, "networking.k8s.io/v1", "NetworkPolicy", "run", {"spec": spec}))
    return found
