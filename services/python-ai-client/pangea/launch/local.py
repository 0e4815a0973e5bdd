"""`--backend local`: what `--render` prints for it.

The processes are children of this one, started as by `pangea train` (`session.py`).
"""

from __future__ import annotations

import shlex

from pangea.launch.job import Job
from pangea.places import data_folder, program, python_command
from pangea.rundir.layout import DATA_SERVICE, FREE_PORTS, ORCHESTRATOR


def render(job: Job) -> str:
    """The command line of each process.

    Addresses are placeholders: a service chooses its own, and writes it to the file after --port-file.
    """
    data_service = [str(program(DATA_SERVICE))]
    lines = [shlex.join(job.data_service(name, data_service, FREE_PORTS, data_folder())) for name in job.data_services]
    lines.append(shlex.join(job.orchestrator([str(program(ORCHESTRATOR))], FREE_PORTS)))
    for name in job.workers:
        environment = job.environment(
            name, f"ADDRESS-OF-{ORCHESTRATOR}", [f"ADDRESS-OF-{service}" for service in job.data_services]
        )
        lines.append(
            shlex.join(
                [
                    "env",
                    *(f"{key}={value}" for key, value in environment.items()),
                    *python_command(job.settings.script),
                    *job.settings.arguments,
                ]
            )
        )
    return "\n".join(lines)
