"""`pangea launch`: a run on one machine or many, or what would be started for it."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from pangea.commands.foreground import run_training
from pangea.commands.options import ScriptCommand, script_arguments, script_path, training
from pangea.launch import kubernetes, local, ray_cluster, ssh
from pangea.launch.job import Job
from pangea.launch.session import Session
from pangea.launch.settings import Settings
from pangea.launch.train import MakeSession, train
from pangea.places import caller_folder

# Options that one backend alone has.
_OWN = {
    "local": (),
    "ssh": ("host", "hosts", "programs"),
    "kubernetes": ("namespace", "images", "tag", "data_claim"),
    "ray": ("address", "cpus"),
}


def _refuse_others(context: click.Context, backend: str) -> None:
    """Says which option the backend does not have."""
    for owner, names in _OWN.items():
        for name in names:
            if owner != backend and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                raise click.UsageError(f"--{name.replace('_', '-')} belongs to --backend {owner}; leave it out, or choose that")


@click.command("launch", cls=ScriptCommand)
@click.argument("script", required=False, type=click.Path(path_type=Path))
@click.option("--backend", type=click.Choice(list(_OWN)), required=True, help="Who starts the processes, and keeps them alive.")
@click.option("--render", is_flag=True, help="Print what would be started or submitted, and start nothing.")
@training
@click.option("--run-dir", type=click.Path(), default=None, help="Where the run's files go; its last part is the run's name.  [default: pangea-runs/TIME-SEED]")
@click.option("--json", "as_json", is_flag=True, help="Print the closing figures as JSON.")
@click.option("--host", multiple=True, metavar="[USER@]HOST", help="ssh: a host; give it again for each one. The first has the orchestrator.")
@click.option("--hosts", type=click.Path(path_type=Path), metavar="FILE", help="ssh: hosts, one a line.")
@click.option("--programs", default="", metavar="DIR", help="ssh: the folder of go-orchestrator, rust-compute and pangea on the hosts.  [default: their PATH]")
@click.option("--namespace", default="", help="kubernetes: where the objects go; has to be there.  [default: kubectl's own]")
@click.option("--images", default="pangea", show_default=True, metavar="PREFIX", help="kubernetes: of the images' names.")
@click.option("--tag", default="latest", show_default=True, help="kubernetes: of the images.")
@click.option("--address", default="auto", show_default=True, help="ray: of the cluster, as ray.init takes it.")
@click.option("--cpus", type=click.FloatRange(0), default=1.0, show_default=True, help="ray: that each process reserves.")
@click.option("--data-claim", default="", metavar="NAME", help="kubernetes: a PersistentVolumeClaim that has a copy of the data file at its root.")
@click.pass_context
def launch_command(context: click.Context, /, script: Path | None, backend: str, render: bool, as_json: bool, **options: Any) -> None:
    """Start a run of SCRIPT (default: a digit classifier) on this machine or on many.

    local, ssh and ray go on until the run ends, and start again what dies; the run's directory, the script and the data have to be on storage that all hosts see.
    kubernetes hands the run to the cluster. There is no encryption yet: use a trusted network.
    """
    _refuse_others(context, backend)
    own = {name: options.pop(name) for names in _OWN.values() for name in names}
    if backend == "kubernetes" and context.get_parameter_source("arithmetic") is ParameterSource.DEFAULT:
        # Its processors are not this machine's; this is what all of them have.
        options["arithmetic"] = "avx2"
    settings = Settings(script_path(script), script_arguments(context) or (), **options)
    _launch(backend, render, settings, own, as_json)


def _launch(backend: str, render: bool, settings: Settings, own: dict[str, Any], as_json: bool) -> None:
    job = Job.of(settings)
    make_session: MakeSession = Session
    if backend == "kubernetes":
        if settings.run_dir is None:
            # A name of Kubernetes begins with a letter.
            job = dataclasses.replace(job, run_id=f"run-{job.run_id}")
        text = kubernetes.render(job, kubernetes.Cluster(own["namespace"], own["images"], own["tag"], own["data_claim"]))
        print(text, end="") if render else kubernetes.apply(text)
        return
    if backend == "ray":
        cluster = ray_cluster.RayCluster(own["address"], own["cpus"])
        if not render:
            # Before anything is made.
            ray_cluster.import_ray()
        text, make_session = ray_cluster.render(job, cluster), partial(ray_cluster.RaySession, cluster)
    elif backend == "ssh":
        hosts = ssh.Hosts.read(own["host"], caller_folder() / own["hosts"] if own["hosts"] else None, own["programs"])
        text, make_session = ssh.render(job, hosts), partial(ssh.SshSession, hosts)
    else:
        text = local.render(job)
    if render:
        print(text)
    else:
        run_training(lambda listeners, request: train(settings, listeners, request, make_session), as_json)
