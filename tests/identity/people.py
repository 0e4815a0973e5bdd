"""The certificates of a run on the loopback."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from pangea.identity.store import Store
from pangea.rundir.layout import ORCHESTRATOR, data_service_name

_DAY = dt.timedelta(days=1)


class People:
    """An authority, and an identity directory for each process.

    Attributes:
        folder: has the directories, by the name of the process.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._now = folder, dt.datetime.now(dt.UTC)
        # Since some days, so that certificates can have expired.
        Store.new(folder / "authority", "run", 365, self._now - 10 * _DAY)
        self.issue(ORCHESTRATOR, "orchestrator")
        for number in (1, 2):
            self.issue(data_service_name(number), "data")
            self.issue(f"worker-{number}", "worker")

    def issue(self, directory: str, role: str, name: str = "", days_ago: int = 0) -> Path:
        """Makes an identity for a process, by default under the directory's name, that is valid for a day."""
        target = self.folder / directory
        with Store.open(self.folder / "authority") as store:
            store.issue(role, name or directory, 1, self._now - days_ago * _DAY, target)
        return target

    def renew(self, directory: str) -> None:
        """Renews the certificate of a process."""
        with Store.open(self.folder / "authority") as store:
            store.renew(self.folder / directory, 2, self._now)

    def revoke(self, worker: str, *told: str) -> None:
        """Revokes a worker's certificates, and tells other processes."""
        with Store.open(self.folder / "authority") as store:
            store.revoke("worker", worker, self._now)
            for directory in told:
                store.copy_revoked(self.folder / directory)

    @property
    def token(self) -> str:
        """What opens the pages."""
        return (self.folder / "authority" / "token").read_text().strip()
