"""`pangea launch`: starts a run on one or many machines, or prints what would be started."""

from __future__ import annotations

import dataclasses
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from pangea.commands.foreground import run_training
from pangea.commands.options import ScriptCommand, script_arguments, script_path, training
from pangea.identity.directory import INSECURE_VARIABLE
from pangea.launch import kubernetes, local, ray_cluster, ssh
from pangea.launch.job import Job
from pangea.launch.session import Session
from pangea.launch.settings import Settings, brings_dataset
from pangea.launch.train import MakeSession, train
from pangea.places import caller_folder

# Options that only one backend has.
_BACKEND_OPTIONS = {
    "local": (),
    "ssh": ("host", "hosts", "programs"),
    "kubernetes": ("namespace", "images", "tag", "data_claim"),
    "ray": ("address", "cpus"),
}


def _refuse_others(context: click.Context, backend: str) -> None:
    """Refuses options of other backends."""
    for owner, names in _BACKEND_OPTIONS.items():
        for name in names:
            if owner != backend and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                raise click.UsageError(
                    f"--{name.replace('_', '-')} belongs to --backend {owner}; leave it out, or choose that backend"
                )


def _needs_no_data_service(context: click.Context, settings: Settings) -> bool:
    """Whether the script seems to have a dataset of its own, and the user asked for no other one."""
    given = (context.get_parameter_source(name) for name in ("dataset", "data_replicas"))
    return all(source is ParameterSource.DEFAULT for source in given) and brings_dataset(settings.script)


@click.command("launch", cls=ScriptCommand)
@click.argument("script", required=False, type=click.Path(path_type=Path))
@click.option(
    "--backend",
    type=click.Choice(list(_BACKEND_OPTIONS)),
    required=True,
    help="What starts the processes and keeps them alive.",
)
@click.option("--render", is_flag=True, help="Print what would be started or submitted, and start nothing.")
@training
@click.option(
    "--run-dir",
    type=click.Path(),
    default=None,
    help="The run directory; its last component is the run's name.  [default: pangea-runs/TIME-SEED]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.option(
    "--host",
    multiple=True,
    metavar="[USER@]HOST",
    help="ssh: a host; may be repeated. The first one runs the orchestrator.",
)
@click.option("--hosts", type=click.Path(path_type=Path), metavar="FILE", help="ssh: a file with one host per line.")
@click.option(
    "--programs",
    default="",
    metavar="DIR",
    help="ssh: the folder of go-orchestrator, rust-compute and pangea on the hosts.  [default: what the command pangea"
    " brings along, in the environment of this one or on their PATH]",
)
@click.option(
    "--namespace", default="", help="kubernetes: an existing namespace for the objects.  [default: kubectl's]"
)
@click.option(
    "--images", default="pangea", show_default=True, metavar="PREFIX", help="kubernetes: prefix of the images' names."
)
@click.option("--tag", default="latest", show_default=True, help="kubernetes: tag of the images.")
@click.option("--address", default="auto", show_default=True, help="ray: address of the cluster, as for ray.init.")
@click.option(
    "--cpus", type=click.FloatRange(0), default=1.0, show_default=True, help="ray: CPUs that each process reserves."
)
@click.option(
    "--data-claim",
    default="",
    metavar="NAME",
    help="kubernetes: a PersistentVolumeClaim with a copy of the data file at its root.",
)
@click.option(
    "--secure/--insecure",
    default=None,
    help=(
        "Whether the processes know each other by certificates and encrypt what they send; --insecure lets everybody"
        " in who reaches a port, as does PANGEA_INSECURE=1.  [default: --secure as soon as anything leaves the"
        " loopback]"
    ),
)
@click.pass_context
def launch_command(
    context: click.Context,
    /,
    script: Path | None,
    backend: str,
    render: bool,
    as_json: bool,
    secure: bool | None,
    **options: Any,
) -> None:
    """Start a run of SCRIPT (default: a digit classifier) on this machine or on many.

    With local, ssh and ray the command runs until the run ends, and restarts processes that die; the run directory, the
    script and the data have to be on storage that all hosts share. With kubernetes it submits the run to the cluster
    and exits. As soon as anything leaves the loopback, the processes know each other by certificates, which are made
    for the run.
    """
    _refuse_others(context, backend)
    if secure is None and os.environ.get(INSECURE_VARIABLE) == "1":
        secure = False
    if backend == "local" and secure:
        raise click.UsageError("--secure has no use with --backend local, which does not leave this machine")
    backend_options: dict[str, Any] = {"secure": secure}
    backend_options |= {name: options.pop(name) for names in _BACKEND_OPTIONS.values() for name in names}
    if backend == "kubernetes" and context.get_parameter_source("arithmetic") is ParameterSource.DEFAULT:
        # The cluster's processors may differ from this machine's; AVX2 is the level that all of them can be expected to
        # have.
        options["arithmetic"] = "avx2"
    settings = Settings(script_path(script), script_arguments(context) or (), **options)
    if backend != "local" and _needs_no_data_service(context, settings):
        settings = dataclasses.replace(settings, data_replicas=0)
        print("the script has a dataset of its own: no data service is started (--data-replicas 1)", file=sys.stderr)
    _launch(backend, render, settings, backend_options, as_json)


def _launch(backend: str, render: bool, settings: Settings, backend_options: dict[str, Any], as_json: bool) -> None:
    job = Job.of(settings)
    make_session: MakeSession = Session
    if backend == "kubernetes":
        if settings.run_dir is None:
            # The name of a Kubernetes object begins with a letter.
            job = dataclasses.replace(job, run_id=f"run-{job.run_id}")
        where = kubernetes.Cluster(
            backend_options["namespace"],
            backend_options["images"],
            backend_options["tag"],
            backend_options["data_claim"],
            # A pod is reached from others.
            secure=backend_options["secure"] is not False,
        )
        text = kubernetes.render(job, where)
        print(text, end="") if render else kubernetes.apply(text, job, where)
        return
    if backend == "ray":
        cluster = ray_cluster.RayCluster(backend_options["address"], backend_options["cpus"], backend_options["secure"])
        if not render:
            # Fails before the run directory is created if ray is not installed.
            ray_cluster.import_ray()
        text, make_session = ray_cluster.render(job, cluster), partial(ray_cluster.RaySession, cluster)
    elif backend == "ssh":
        hosts = ssh.Hosts.read(
            backend_options["host"],
            caller_folder() / backend_options["hosts"] if backend_options["hosts"] else None,
            backend_options["programs"],
            backend_options["secure"],
        )
        text, make_session = ssh.render(job, hosts), partial(ssh.SshSession, hosts)
    else:
        text = local.render(job)
    if render:
        print(text)
    else:
        run_training(lambda listeners, request: train(settings, listeners, request, make_session), as_json)
