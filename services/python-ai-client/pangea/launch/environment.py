"""The environment variables of a launched worker."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pangea.arithmetic import VARIABLE
from pangea.datasets import DEFAULT
from pangea.datasets import VARIABLE as DATASET_VARIABLE
from pangea.launch.settings import Settings
from pangea.rundir.layout import LEDGER_FILE


def worker_environment(
    settings: Settings, run_dir: Path, name: str, orchestrator: str, data: Sequence[str]
) -> dict[str, str]:
    """All variables of the worker with this name. `orchestrator` and `data` are host:port or `unix:/path|host:port`."""
    return {
        "PANGEA_ORCHESTRATOR": orchestrator,
        "PANGEA_DATA": ",".join(data),
        "PANGEA_RUN_DIR": str(run_dir),
        "PANGEA_WORKER_NAME": name,
        **training_environment(settings),
        # An earlier release ignored --dataset beside a dataset of the script: its runs can still be resumed.
        **({} if (run_dir / LEDGER_FILE).exists() else dataset_variable(settings)),
        **http_variable(os.environ, name),
    }


def training_environment(settings: Settings) -> dict[str, str]:
    """The variables that are the same for all workers of the run."""
    switches = {"PANGEA_ALLOW_NONDETERMINISM": not settings.strict, "PANGEA_TAKE_CHANGES": settings.take_changes}
    level = {VARIABLE: settings.arithmetic} if settings.arithmetic else {}
    return {
        "PANGEA_SEED": str(settings.seed),
        "PANGEA_REHEARSE": f"{settings.rehearse:g}",
        **level,
        **{variable: "1" for variable, on in switches.items() if on},
    }


def dataset_variable(settings: Settings) -> dict[str, str]:
    """PANGEA_DATASET, if the user chose a dataset, which a script with its own one would ignore."""
    return {DATASET_VARIABLE: settings.dataset} if settings.dataset != DEFAULT else {}


def http_variable(environment: Mapping[str, str], name: str) -> dict[str, str]:
    """PANGEA_HTTP of the worker with this name.

    Workers on one machine cannot share a port: the first one gets the caller's, and each further one the next port.
    """
    host, colon, port = environment.get("PANGEA_HTTP", "").rpartition(":")
    number = re.search(r"[0-9]+$", name)
    if not port.isdigit() or int(port) == 0 or number is None:
        return {}
    return {"PANGEA_HTTP": f"{host}{colon}{int(port) + int(number[0]) - 1}"}
