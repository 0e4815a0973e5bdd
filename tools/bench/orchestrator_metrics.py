"""What the orchestrator's /metrics say of a run."""

from __future__ import annotations

import re
import urllib.request
from dataclasses import dataclass

from tools.bench import processes, run_settings


@dataclass(frozen=True)
class OrchestratorMetrics:
    """Those since its start.

    Attributes:
        commits: of the ledger.
        commit_seconds: of all of them together.
        ledger_bytes: the length of the ledger.
        shared_updates: gradients that were read from the memory of a worker.
    """

    commits: float
    commit_seconds: float
    ledger_bytes: float
    shared_updates: float

    @property
    def mean_commit_seconds(self) -> float:
        """Of one commit."""
        return self.commit_seconds / self.commits

    @property
    def transport(self) -> str:
        """How the gradients came."""
        return run_settings.SHARED_MEMORY if self.shared_updates else run_settings.TCP


def read(status: str) -> OrchestratorMetrics:
    """Asks the orchestrator at this HTTP address, host:port."""
    with urllib.request.urlopen(f"http://{status}/metrics", timeout=processes.PATIENCE_SECONDS) as answer:
        text = answer.read().decode()
    names = ("ledger_commit_seconds_count", "ledger_commit_seconds_sum", "ledger_bytes", "shared_updates_total")
    return OrchestratorMetrics(*(_metric(text, name) for name in names))


def _metric(text: str, name: str) -> float:
    """Of the orchestrator, from its Prometheus text.

    Raises:
        ValueError: there is no such metric.
    """
    found = re.search(rf"^pangea_orchestrator_{name} (\S+)$", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"/metrics of the orchestrator has no {name}; is it named otherwise now?")
    return float(found.group(1))
