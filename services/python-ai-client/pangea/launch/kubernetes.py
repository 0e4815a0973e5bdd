"""`--backend kubernetes`: the manifests of one run, for `kubectl apply -f -`.

The cluster keeps the processes alive. The objects are named after the run, so that several runs can share a namespace.
infra/kubernetes has the same objects written by hand, to be customised with kustomize.
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
from pangea.identity.directory import AUTHORITY, CERTIFICATE, INSECURE_VARIABLE, KEY, REVOKED, TOKEN, VARIABLE
from pangea.launch.environment import dataset_variable, training_environment
from pangea.launch.identities import Identities
from pangea.launch.job import CannotLaunch, Job
from pangea.rundir.layout import DATA_SERVICE, ORCHESTRATOR

Manifest = dict[str, Any]
# The name of a Kubernetes object. A StatefulSet labels its pods with the run's name, "-orchestrator-" and ten digits,
# and a label has at most 63 characters.
_MAX_NAME_CHARACTERS = 39
_NAME = re.compile(rf"[a-z]([-a-z0-9]{{0,{_MAX_NAME_CHARACTERS - 2}}}[a-z0-9])?")
# As a JSON string: `kubectl apply` stores the applied object in an annotation, and annotations are limited to 256 KiB.
_MAX_SCRIPT_BYTES = 250_000
_USER = 65532
# What the image of the data service serves when it is given no arguments.
_IN_IMAGE = "digits"
# Of a Secret of type kubernetes.io/tls, as cert-manager makes it: the authority's certificate, its own, and the key.
_SECRET_KEYS = ("ca.crt", "tls.crt", "tls.key")
_IDENTITY_FOLDER = "/identity"
_PROBE = {"periodSeconds": 2, "timeoutSeconds": 5}


@dataclass(frozen=True)
class Cluster:
    """The cluster that runs the job.

    Attributes:
        namespace: an existing namespace; "" for kubectl's default.
        images: the prefix of the three images' names.
        tag: the tag of the images.
        data_claim: a PersistentVolumeClaim with a copy of the data file at its root; "" for the digits, which the image
            contains.
        secure: whether the processes know each other by certificates, which are in Secrets (`secret_name`).
    """

    namespace: str = ""
    images: str = "pangea"
    tag: str = "latest"
    data_claim: str = ""
    secure: bool = True


def manifests(job: Job, cluster: Cluster) -> list[Manifest]:
    """All objects of the run.

    Raises:
        CannotLaunch: the job cannot be expressed as Kubernetes objects.
    """
    if not _NAME.fullmatch(job.run_id):
        raise CannotLaunch(
            f"the run is named {job.run_id!r} after its --run-dir; in Kubernetes a name has up to"
            f" {_MAX_NAME_CHARACTERS} of the characters a-z, 0-9 and -, and begins with a letter"
        )
    return [
        _object(job, cluster, "v1", "ConfigMap", "script", {"data": {job.settings.script.name: _script(job)}}),
        _object(job, cluster, "v1", "PersistentVolumeClaim", "results", {"spec": _claim("ReadWriteMany", "1Gi")}),
        _orchestrator(job, cluster),
        _service(job, cluster, "orchestrator", 8080, headless=True),
        *_data_objects(job, cluster),
        _workers(job, cluster),
        # maxUnavailable does not work for the pods of a Job. If no worker were left, the steps since the last
        # checkpoint would have to be recomputed.
        _budget(job, cluster, "worker", {"minAvailable": min(1, job.settings.workers - 1)}),
        *_policies(job, cluster),
    ]


def render(job: Job, cluster: Cluster) -> str:
    """The manifests as YAML."""
    return str(yaml.dump_all(manifests(job, cluster), Dumper=_Plain, sort_keys=False, explicit_start=True, width=180))


def secret_name(job: Job, component: str) -> str:
    """The name of the Secret with the identity of a component's pods, in the form of cert-manager."""
    return f"{job.run_id}-{component}-identity"


def secrets(job: Job, cluster: Cluster, identities: Identities) -> list[Manifest]:
    """The Secrets with the identities of the run, as cert-manager would make them. They are never printed.

    The workers share one: their pods have names that nobody knows beforehand.
    """
    found = []
    for component, identity in (
        ("orchestrator", identities.of(ORCHESTRATOR)),
        ("data", identities.of(DATA_SERVICE)),
        ("worker", identities.any_worker()),
    ):
        files = identity.files()
        keys = {**dict(zip(_SECRET_KEYS, (AUTHORITY, CERTIFICATE, KEY), strict=True)), REVOKED: REVOKED, TOKEN: TOKEN}
        body = {
            "type": "kubernetes.io/tls",
            "stringData": {key: files[name].decode() for key, name in keys.items() if name in files},
        }
        found.append(_object(job, cluster, "v1", "Secret", f"{component}-identity", body))
    return found


def apply(text: str, job: Job, cluster: Cluster) -> None:
    """Makes the Secrets of the run unless they exist, and passes the manifests to `kubectl`, which prints what it did.

    Raises:
        CannotLaunch: there is no kubectl, or it failed.
    """
    if cluster.secure and _kubectl(["get", "secret", secret_name(job, "worker"), *_in(cluster)], quiet=True) != 0:
        made = secrets(job, cluster, Identities(job.run_id, ()))
        if _kubectl(["create", "-f", "-"], yaml.safe_dump_all(made)) != 0:
            raise CannotLaunch(
                "kubectl cannot create the Secrets with the certificates of the run; see its output above. Make them"
                " yourself (docs/how-to/identity.md), or let everybody in with --insecure"
            )
    code = _kubectl(["apply", "-f", "-"], text)
    if code != 0:
        raise CannotLaunch(
            f"kubectl apply failed with exit code {code}; see its output above. Objects that it has created still"
            " exist; delete them with --render ... | kubectl delete -f -"
        )


def _in(cluster: Cluster) -> list[str]:
    return ["--namespace", cluster.namespace] if cluster.namespace else []


def _kubectl(words: list[str], text: str = "", *, quiet: bool = False) -> int:
    """Runs kubectl with a text as its input, and returns its exit code.

    Raises:
        CannotLaunch: there is no kubectl.
    """
    output = subprocess.DEVNULL if quiet else None
    try:
        return subprocess.run(
            ["kubectl", *words], input=text, text=True, check=False, stdout=output, stderr=output
        ).returncode
    except FileNotFoundError as error:
        raise CannotLaunch(
            "there is no kubectl on PATH; install it, or pipe the output of --render to a machine that has it"
        ) from error


class _Plain(yaml.SafeDumper):  # type: ignore[misc]  # yaml has no types
    """YAML for human readers: without aliases, and with multi-line strings as blocks."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Plain.add_representer(str, _text)


def _labels(job: Job, component: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/part-of": "pangea",
        "app.kubernetes.io/instance": job.run_id,
        "app.kubernetes.io/component": component,
    }


def _object(job: Job, cluster: Cluster, api: str, kind: str, component: str, body: Manifest) -> Manifest:
    metadata: Manifest = {"name": f"{job.run_id}-{component}", "labels": _labels(job, component)}
    if cluster.namespace:
        metadata["namespace"] = cluster.namespace
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **body}


def _script(job: Job) -> str:
    script = job.settings.script
    text = script.read_text()
    if not re.fullmatch(r"[-._a-zA-Z0-9]+", script.name):
        raise CannotLaunch(
            f"the script {script} is passed in a ConfigMap, with its name as the key; rename it to letters, digits, - ."
            " and _"
        )
    if (size := len(json.dumps(text))) > _MAX_SCRIPT_BYTES:
        raise CannotLaunch(
            f"the script {script} is passed in a ConfigMap and takes {size} bytes of it; `kubectl apply` accepts up to"
            f" {_MAX_SCRIPT_BYTES}. Move parts of it into a package in an image of your own (--images), or mount it"
            " (infra/kubernetes)"
        )
    return text


def _claim(access: str, size: str) -> Manifest:
    return {"accessModes": [access], "resources": {"requests": {"storage": size}}}


def _pod(job: Job, component: str, container: Manifest, volumes: list[Manifest], **more: Any) -> Manifest:
    """A pod with one container, which has no privileges and a read-only file system."""
    confined = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    user = {
        "runAsNonRoot": True,
        "runAsUser": _USER,
        "runAsGroup": _USER,
        "fsGroup": _USER,
        # The default changes the owner of every file of a volume at every start.
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
            "containers": [
                {"name": component, "imagePullPolicy": "IfNotPresent", **container, "securityContext": confined}
            ],
            "volumes": volumes,
        },
    }


def _container(cluster: Cluster, image: str, ports: dict[str, int], memory: str) -> Manifest:
    """The common part of all containers: probes of the `http` port, and resource limits."""
    # With an identity, pages speak TLS beyond the loopback.
    scheme = {"scheme": "HTTPS"} if cluster.secure else {}
    alive, ready = ({"httpGet": {"path": path, "port": "http", **scheme}, **_PROBE} for path in ("/healthz", "/readyz"))
    return {
        "image": f"{cluster.images}/{image}:{cluster.tag}",
        "ports": [{"name": name, "containerPort": port} for name, port in ports.items()],
        # Loading a long ledger, the data or torch takes a while; the liveness probe starts only after that.
        "startupProbe": {**alive, "failureThreshold": 60},
        "livenessProbe": {**alive, "failureThreshold": 6},
        "readinessProbe": ready,
        "resources": {
            "requests": {"cpu": "500m", "memory": "512Mi", "ephemeral-storage": "64Mi"},
            # Logs, and what a script writes to /tmp.
            "limits": {"cpu": "4", "memory": memory, "ephemeral-storage": "2Gi"},
        },
    }


def _identity_environment(cluster: Cluster) -> list[Manifest]:
    """The variables that say where the identity is, or that there is none on purpose."""
    name, value = (VARIABLE, _IDENTITY_FOLDER) if cluster.secure else (INSECURE_VARIABLE, "1")
    return [{"name": name, "value": value}]


def _identity_mounts(cluster: Cluster) -> list[Manifest]:
    mount = {"name": "identity", "mountPath": _IDENTITY_FOLDER, "readOnly": True}
    return [mount] if cluster.secure else []


def _identity_volumes(job: Job, cluster: Cluster, component: str) -> list[Manifest]:
    """The Secret of a component under the names of an identity directory."""
    if not cluster.secure:
        return []
    name = secret_name(job, component)
    required = [
        {"key": key, "path": path} for key, path in zip(_SECRET_KEYS, (AUTHORITY, CERTIFICATE, KEY), strict=True)
    ]
    # cert-manager makes neither.
    optional = [{"key": key, "path": key} for key in (REVOKED, TOKEN)]
    sources = [
        {"secret": {"name": name, "items": required}},
        {"secret": {"name": name, "items": optional, "optional": True}},
    ]
    return [{"name": "identity", "projected": {"defaultMode": 0o440, "sources": sources}}]


def _with_gpus(container: Manifest, gpus: float) -> Manifest:
    """Adds GPUs to a container's resources: whole ones, since Kubernetes gives out no parts."""
    if gpus == 0:
        return container
    if gpus != int(gpus):
        raise CannotLaunch(
            f"--gpus-per-worker {gpus:g}: Kubernetes gives a container whole GPUs; give 1, or let its device plugin"
            " divide them (time slicing, MIG) and give 1 of these"
        )
    limits = {**container["resources"]["limits"], "nvidia.com/gpu": int(gpus)}
    return {**container, "resources": {**container["resources"], "limits": limits}}


def _orchestrator(job: Job, cluster: Cluster) -> Manifest:
    arguments = [
        "--listen=0.0.0.0:8080",
        "--http=0.0.0.0:8081",
        "--run-dir=/runs/run",
        f"--run-id={job.run_id}",
        *job.settings.run_options.flags(),
    ]
    container = {
        **_container(cluster, "go-orchestrator", {"workers": 8080, "http": 8081}, "5Gi"),
        "args": arguments,
        # Below the limit of the container: Go then collects garbage more often, instead of being killed.
        "env": [{"name": "GOMEMLIMIT", "value": "4608MiB"}, *_identity_environment(cluster)],
        "volumeMounts": [{"name": "runs", "mountPath": "/runs"}, *_identity_mounts(cluster)],
    }
    # On SIGTERM the orchestrator waits for a last checkpoint.
    template = _pod(
        job,
        "orchestrator",
        container,
        _identity_volumes(job, cluster, "orchestrator"),
        terminationGracePeriodSeconds=60,
    )
    spec = {
        "serviceName": f"{job.run_id}-orchestrator",
        "replicas": 1,
        "selector": {"matchLabels": _labels(job, "orchestrator")},
        "template": template,
        "volumeClaimTemplates": [{"metadata": {"name": "runs"}, "spec": _claim("ReadWriteOnce", "10Gi")}],
    }
    return _object(job, cluster, "apps/v1", "StatefulSet", "orchestrator", {"spec": spec})


def _data_objects(job: Job, cluster: Cluster) -> list[Manifest]:
    """The data service and what belongs to it; nothing if the script has a dataset of its own."""
    if not job.settings.data_replicas:
        return []
    return [
        _data_service(job, cluster),
        _service(job, cluster, "data", 9090),
        _budget(job, cluster, "data", {"maxUnavailable": 1}),
    ]


def _data_service(job: Job, cluster: Cluster) -> Manifest:
    container = {
        **_container(cluster, "rust-compute", {"workers": 9090, "http": 9091}, "2Gi"),
        "env": _identity_environment(cluster),
        "volumeMounts": _identity_mounts(cluster),
    }
    volumes = _identity_volumes(job, cluster, "data")
    if job.settings.dataset != _IN_IMAGE:
        dataset = datasets.parse(job.settings.dataset)
        if not cluster.data_claim or dataset.file is None:
            raise CannotLaunch(
                f"the image contains only the digits; --dataset {job.settings.dataset} needs a file of yours and"
                " --data-claim NAME, a volume claim with a copy of it"
            )
        copy = Path("/data") / dataset.file.name
        arguments = [f"--dataset={dataset.at(copy)}", "--listen=0.0.0.0:9090", "--http=0.0.0.0:9091"]
        container = {
            **container,
            "args": arguments,
            "volumeMounts": [*container["volumeMounts"], {"name": "data", "mountPath": "/data", "readOnly": True}],
        }
        volumes += [{"name": "data", "persistentVolumeClaim": {"claimName": cluster.data_claim, "readOnly": True}}]
    if not container["volumeMounts"]:
        del container["volumeMounts"]
    spec = {
        "replicas": job.settings.data_replicas,
        "selector": {"matchLabels": _labels(job, "data")},
        "template": _pod(job, "data", container, volumes),
    }
    return _object(job, cluster, "apps/v1", "Deployment", "data", {"spec": spec})


def _workers(job: Job, cluster: Cluster) -> Manifest:
    environment = {
        "PANGEA_ORCHESTRATOR": f"{job.run_id}-orchestrator:8080",
        **({"PANGEA_DATA": f"{job.run_id}-data:9090"} if job.settings.data_replicas else {}),
        "PANGEA_HTTP": "0.0.0.0:8082",
        "PANGEA_RUN_DIR": "/results",
        **training_environment(job.settings),
        **dataset_variable(job.settings),
    }
    container = {
        **_with_gpus(_container(cluster, "python-ai-client", {"http": 8082}, "2Gi"), job.settings.gpus_per_worker),
        "args": [
            "worker",
            f"/script/{job.settings.script.name}",
            *(["--", *job.settings.arguments] if job.settings.arguments else []),
        ],
        "env": [
            *({"name": name, "value": value} for name, value in environment.items()),
            *_identity_environment(cluster),
            {"name": "PANGEA_WORKER_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
        "volumeMounts": [
            {"name": "script", "mountPath": "/script", "readOnly": True},
            {"name": "results", "mountPath": "/results"},
            {"name": "tmp", "mountPath": "/tmp"},
            *_identity_mounts(cluster),
        ],
    }
    volumes = [
        {"name": "script", "configMap": {"name": f"{job.run_id}-script"}},
        {"name": "results", "persistentVolumeClaim": {"claimName": f"{job.run_id}-results"}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
        *_identity_volumes(job, cluster, "worker"),
    ]
    spec = {
        "completionMode": "Indexed",
        "completions": job.settings.workers,
        "parallelism": job.settings.workers,
        # A worker that fails is retried a few times, without failing the others.
        "backoffLimitPerIndex": 6,
        # A worker on a drained node exits with 143, which must not count as a failure; exit code 0 would mark its index
        # as complete.
        "podFailurePolicy": {
            "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
        },
        "template": _pod(job, "worker", container, volumes, restartPolicy="Never"),
    }
    return _object(job, cluster, "batch/v1", "Job", "worker", {"spec": spec})


def _service(job: Job, cluster: Cluster, component: str, port: int, *, headless: bool = False) -> Manifest:
    # The name of a headless service resolves to the pod's own address, and is resolved for each connection; a
    # StatefulSet requires one.
    spec = {
        "selector": _labels(job, component),
        "ports": [{"name": "workers", "port": port, "targetPort": "workers"}],
        **({"clusterIP": "None"} if headless else {}),
    }
    return _object(job, cluster, "v1", "Service", component, {"spec": spec})


def _budget(job: Job, cluster: Cluster, component: str, bound: dict[str, int]) -> Manifest:
    spec = {**bound, "unhealthyPodEvictionPolicy": "AlwaysAllow", "selector": {"matchLabels": _labels(job, component)}}
    return _object(job, cluster, "policy/v1", "PodDisruptionBudget", component, {"spec": spec})


def _policies(job: Job, cluster: Cluster) -> list[Manifest]:
    """Network policies: only the run's own workers reach its services, besides being the only ones with certificates.

    Health and metrics are open to the namespace; probes come from the node.
    """
    whole_run = {key: value for key, value in _labels(job, "").items() if value}
    ports = {"orchestrator": (8080, 8081), "data": (9090, 9091), "worker": (None, 8082)}
    if not job.settings.data_replicas:
        del ports["data"]
    found = []
    for component, (messages, http) in ports.items():
        ingress: list[Manifest] = [{"from": [{"podSelector": {}}], "ports": [{"port": http}]}]
        if messages is not None:
            ingress.insert(
                0, {"from": [{"podSelector": {"matchLabels": _labels(job, "worker")}}], "ports": [{"port": messages}]}
            )
        spec: Manifest = {
            "podSelector": {"matchLabels": _labels(job, component)},
            "policyTypes": ["Ingress"],
            "ingress": ingress,
        }
        found.append(_object(job, cluster, "networking.k8s.io/v1", "NetworkPolicy", component, {"spec": spec}))
    services = [{"podSelector": {"matchLabels": whole_run}}]
    outgoing: list[Manifest] = [
        {"to": services, "ports": [{"port": 8080}, {"port": 9090}]},
        {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]},
    ]
    spec = {"podSelector": {"matchLabels": whole_run}, "policyTypes": ["Egress"], "egress": outgoing}
    found.append(_object(job, cluster, "networking.k8s.io/v1", "NetworkPolicy", "run", {"spec": spec}))
    return found
