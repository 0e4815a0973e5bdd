"""Injects faults into a run on this machine."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from pangea.chaos.schedule import Fault, FaultKind
from pangea.launch.session import Session
from pangea.services.restarts import ExitStatus
from pangea.services.supervisor import Process


@dataclass
class _Pause:
    process: Process
    pid: int
    until: float


class Injector:
    """Injects faults into the processes of a session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._pauses: list[_Pause] = []

    def inject(self, fault: Fault, now: float) -> tuple[FaultKind, list[str]] | None:
        """Injects `fault` now.

        LEAVE turns into JOIN if only one worker is alive, and JOIN into LEAVE if twice the initial number of workers
        are.

        Args:
            fault: the fault.
            now: seconds of the same clock as for `resume_paused`.
        Returns:
            the kind of the injected fault and the names of the affected processes; None if there is no process that it
            could affect.
        """
        kind, workers = fault.kind, self._running(self._session.workers)
        if kind is FaultKind.LEAVE and sum(worker.alive for worker in self._session.workers) < 2:
            kind = FaultKind.JOIN
        elif (
            kind is FaultKind.JOIN
            and sum(worker.alive for worker in self._session.workers) >= 2 * self._session.settings.workers
        ):
            kind = FaultKind.LEAVE
        if kind is FaultKind.JOIN:
            return kind, [self._session.add_worker().name]
        orchestrator = self._session.orchestrator
        targets = {
            FaultKind.KILL_ORCHESTRATOR: self._running([orchestrator] if orchestrator is not None else []),
            FaultKind.KILL_DATA: self._running(self._session.data_services),
        }.get(kind, workers)
        if not targets:
            return None
        if kind is not FaultKind.KILL_ALL_WORKERS:
            targets = [targets[int(fault.pick * len(targets))]]
        for target in targets:
            target.child.signal(
                signal.SIGSTOP
                if kind is FaultKind.PAUSE_WORKER
                else signal.SIGTERM
                if kind is FaultKind.LEAVE
                else signal.SIGKILL
            )
            if kind is FaultKind.PAUSE_WORKER:
                self._pauses.append(_Pause(target, target.child.process.pid, now + fault.seconds))
        return kind, [target.name for target in targets]

    def _running(self, processes: list[Process]) -> list[Process]:
        paused = {pause.pid for pause in self._pauses}
        return [
            process
            for process in processes
            if process.status is ExitStatus.RUNNING
            and process.child.exit_code() is None
            and process.child.process.pid not in paused
        ]

    def resume_paused(self, now: float) -> None:
        """Resumes the workers whose pause is over."""
        for pause in [pause for pause in self._pauses if pause.until <= now]:
            self._pauses.remove(pause)
            # The worker may have been restarted since; the new process is not paused.
            if pause.process.child.process.pid == pause.pid:
                pause.process.child.signal(signal.SIGCONT)

    @property
    def idle(self) -> bool:
        """Whether no worker is paused."""
        return not self._pauses
