"""The certificates of a launched run: each process gets its own, from an authority that only the launcher has.

The authority exists in the launcher's memory. It ends with the launcher, and so do the processes that it keeps alive.
"""

from __future__ import annotations

import datetime as dt
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from pangea.identity.authority import AUTHORITY_DAYS, Authority
from pangea.identity.directory import INSECURE_VARIABLE, Identity
from pangea.identity.holder import Role
from pangea.identity.pages import RUN_FOLDER
from pangea.rundir.http_get import is_loopback
from pangea.rundir.layout import ORCHESTRATOR

_MAX_LABEL_CHARACTERS = 63


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def label_of(run_id: str) -> str:
    """The label of a run in its certificates: its name, as far as a certificate can have it."""
    return re.sub(r"[^-_.a-zA-Z0-9]|\.(?=\.)", "-", run_id)[:_MAX_LABEL_CHARACTERS].strip("-_.") or "run"


class Identities:
    """Makes the identity of each process of a run."""

    def __init__(self, run_id: str, workers: Iterable[str], clock: Callable[[], dt.datetime] = _now) -> None:
        """Args:
        run_id: the run's name.
        workers: the names of its workers; every other process but the orchestrator is a data service.
        clock: returns the time.
        """
        self._clock, self._workers = clock, frozenset(workers)
        self._authority = Authority.new(label_of(run_id), AUTHORITY_DAYS, clock())

    def of(self, process: str) -> Identity:
        """A new identity for the process with this name; each start has its own."""
        role = Role.ORCHESTRATOR if process == ORCHESTRATOR else Role.WORKER if self.is_worker(process) else Role.DATA
        return self._authority.issue(role, process, AUTHORITY_DAYS, self._clock())

    def any_worker(self) -> Identity:
        """An identity that several workers share, whose names are not known beforehand."""
        return self._authority.issue(Role.WORKER, "*", AUTHORITY_DAYS, self._clock())

    def is_worker(self, process: str) -> bool:
        """Whether a process is a worker: one of those at the start, or one that was added with the next number."""
        return process in self._workers or re.fullmatch(r"worker-[0-9]+", process) is not None

    def leave_viewer(self, run_dir: Path) -> None:
        """Writes what `pangea status RUN_DIR` needs into the run directory.

        Raises:
            DiskError: it cannot be written.
        """
        # That of an earlier start, which had another authority.
        shutil.rmtree(run_dir / RUN_FOLDER, ignore_errors=True)
        self._authority.issue(Role.VIEWER, "launcher", AUTHORITY_DAYS, self._clock()).write(run_dir / RUN_FOLDER)


def wants_identities(secure: bool | None, hosts: Iterable[str]) -> bool:
    """Whether the processes of a run need certificates.

    Args:
        secure: what the user said; None for nothing, and then they do as soon as anything leaves the loopback.
        hosts: on which they listen.
    """
    return secure if secure is not None else not all(is_loopback(host) for host in hosts)


def insecure_environment(secure: bool | None) -> dict[str, str]:
    """The variable by which a service listens beyond the loopback without an identity, if the user said so."""
    return {INSECURE_VARIABLE: "1"} if secure is False else {}
