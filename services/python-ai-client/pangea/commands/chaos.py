"""`pangea chaos`: trains while processes of the run are killed, and verifies that the bits are not affected."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from pangea.chaos.recovery import spread
from pangea.chaos.run import ChaosResult, detection_seconds, first_difference, reference_hashes, train_under_faults
from pangea.chaos.schedule import schedule
from pangea.commands.options import ScriptCommand, script_arguments, script_path, shared
from pangea.commands.terminal import show_line
from pangea.foreign import open_regular
from pangea.launch.settings import Settings
from pangea.ledger.audit import audit_ledger
from pangea.ledger.other_files import audit_files
from pangea.ledger.reader import NAME
from pangea.rundir.layout import ORCHESTRATOR, new_run_dir, run_dir_path
from pangea.rundir.service_logs import read_service_logs
from pangea.services.stopping import StopRequest, catch_signals

_ENDLESS_EPOCHS = 1_000_000


@click.command("chaos", cls=ScriptCommand)
@click.argument("script", required=False, type=click.Path(path_type=Path))
@click.option(
    "--mtbf", type=click.FloatRange(0.01), default=5.0, show_default=True, help="Mean seconds between two faults."
)
@click.option(
    "--duration",
    type=click.FloatRange(1),
    default=60.0,
    show_default=True,
    help="Seconds during which faults are injected; the run then recovers and is stopped.",
)
@shared
@click.option(
    "--epochs", type=click.IntRange(1), default=_ENDLESS_EPOCHS, help="Stop after this many epochs at the latest."
)
@click.option(
    "--run-dir",
    type=click.Path(),
    default=None,
    help="The parent of both runs' directories.  [default: pangea-runs/TIME-SEED]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.pass_context
def chaos_command(
    context: click.Context,
    /,
    script: Path | None,
    mtbf: float,
    duration: float,
    run_dir: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Train SCRIPT (default: a digit classifier) under random faults, and compare with an undisturbed run.

    Workers, the orchestrator and data services are killed (SIGKILL) and restarted; workers are paused, leave and join.
    Then a single worker computes the same steps, and the ledger is audited. The exit code is 1 if the parameters differ
    after any step, or the audit refutes a promise. --seed determines the run and the faults.
    """
    settings = Settings(script_path(script), script_arguments(context) or (), run_dir=run_dir, **options)
    console = Console(stderr=as_json)
    with catch_signals() as request:
        figures = _chaos(settings, mtbf, duration, console, request)
    if as_json:
        print(json.dumps(figures, indent=1))
    else:
        _print_figures(console, figures)
    if not figures["bits_held"] or figures["refuted_by_audit"]:
        sys.exit(1)


def _chaos(settings: Settings, mtbf: float, duration: float, console: Console, request: StopRequest) -> dict[str, Any]:
    def print_event(event: str) -> None:
        show_line(console, event, "yellow")

    folder = run_dir_path(settings.run_dir, settings.seed)
    # Both are created before anything is started, so that an unusable directory is not found only after the first run.
    chaos, reference = (new_run_dir(folder / name, settings.seed) for name in ("chaos", "reference"))
    disturbed = train_under_faults(
        settings, chaos, schedule(settings.seed, mtbf, duration), duration, print_event, request
    )
    console.print(
        f"{len(disturbed.hashes)} steps under faults; now the same steps without faults, with one worker",
        highlight=False,
    )
    # A signal ends the faults early, and the comparison still follows; a further signal stops that too.
    request.stop_signal = None
    hashes = reference_hashes(settings, reference, len(disturbed.hashes), print_event, request)
    return _figures(chaos, disturbed, hashes)


def _figures(run_dir: Path, disturbed: ChaosResult, reference: list[str]) -> dict[str, Any]:
    difference = first_difference(disturbed.hashes, reference)
    noticed = detection_seconds(run_dir / "logs" / f"{ORCHESTRATOR}.log", disturbed.worker_kills)
    compared = min(len(disturbed.hashes), len(reference))
    with open_regular(run_dir / NAME) as stream:
        report = audit_ledger(stream)
    files, _ = audit_files(run_dir, report.audit)
    logs = read_service_logs(run_dir)
    refuted = [finding.promise for finding in [*report.findings, *files] if not finding.holds]
    return {
        "run_dir": str(run_dir),
        "seconds": disturbed.seconds,
        "steps": len(disturbed.hashes),
        "compared_steps": compared,
        "bits_held": difference is None and not disturbed.gap and compared == len(disturbed.hashes) > 0,
        "first_different_step": difference,
        "gap_in_steps": disturbed.gap,
        "refuted_by_audit": refuted,
        "recovered": not disturbed.recoveries.pending,
        "kills": disturbed.recoveries.kills,
        "faults": disturbed.recoveries.report(),
        "shards_free_again_seconds": spread(noticed) if noticed else None,
        "steps_computed_again": logs.steps_again,
        "checkpoints_refused": logs.checkpoints_refused,
        "service_errors": logs.errors,
        "restarts": disturbed.restarts,
        "failed_workers": disturbed.failed_workers,
    }


def _print_figures(console: Console, figures: dict[str, Any]) -> None:
    console.print(_fault_table(figures))
    restarts = sum(figures["restarts"].values())
    console.print(
        f"{restarts} processes started again, {figures['steps_computed_again']} steps computed again,"
        f" {figures['checkpoints_refused']} checkpoints refused",
        highlight=False,
    )
    for problem in _problems(figures):
        show_line(console, problem, "red")
    if figures["bits_held"]:
        console.print(
            f"{figures['steps']} steps, {figures['kills']} kills: the same bits after every step", style="green"
        )


def _fault_table(figures: dict[str, Any]) -> Table:
    table = Table(title="Seconds from the fault to the next step")
    for column in ("fault", "times", "p50", "p99", "max"):
        table.add_column(column, justify="left" if column == "fault" else "right")
    for kind, entry in figures["faults"].items():
        table.add_row(kind, str(entry["faults"]), *_row(entry["recovery_seconds"]))
    released = figures["shards_free_again_seconds"]
    if released is not None:
        table.add_section()
        table.add_row("shards of a killed worker released", str(released["count"]), *_row(released))
    return table


def _problems(figures: dict[str, Any]) -> Iterator[str]:
    run_dir, steps = figures["run_dir"], figures["steps"]
    if errors := figures["service_errors"]:
        yield f"{len(errors)} errors in the logs of services; the first one: {errors[0]}"
    if figures["failed_workers"]:
        yield f"failed workers: {', '.join(figures['failed_workers'])}; see {run_dir}/logs"
    if figures["refuted_by_audit"]:
        yield f"the audit REFUTES {', '.join(figures['refuted_by_audit'])}; see pangea audit {run_dir}"
    if figures["bits_held"]:
        return
    if figures["first_different_step"] is not None:
        yield f"the bits DIFFER after step {figures['first_different_step']} of {steps}; see {run_dir}"
    else:
        gap = "; steps are missing or repeated" if figures["gap_in_steps"] else ""
        yield f"{figures['compared_steps']} of {steps} steps could be compared{gap}"


def _row(spread: dict[str, float] | None) -> list[str]:
    return ["-"] * 3 if spread is None else [f"{spread[name]:.3f}" for name in ("p50", "p99", "max")]
