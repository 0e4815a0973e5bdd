"""What the orchestrator's /metrics say of the commits of its ledger."""

from __future__ import annotations

import re
import urllib.request
from dataclasses import dataclass

from tools.bench import processes


@dataclass(frozen=True)
class Commits:
    """How many there were, the seconds of all of them together, and the length of the ledger."""

    count: float
    seconds: float
    ledger_bytes: float


def read(status: str) -> Commits:
    """Those since the start of the orchestrator whose HTTP address, host:port, is given."""
    with urllib.request.urlopen(f"http://{status}/metrics", timeout=processes.PATIENCE_SECONDS) as answer:
        text = answer.read().decode()
    names = ("ledger_commit_seconds_count", "ledger_commit_seconds_sum", "ledger_bytes")
    return Commits(*(_metric(text, name) for name in names))


def mean_seconds(status: str) -> float:
    """Of one commit."""
    commits = read(status)
    return commits.seconds / commits.count


def _metric(text: str, name: str) -> float:
    """Of the orchestrator, from its Prometheus text.

    Raises:
        ValueError: there is no such metric.
    """
    found = re.search(rf"^pangea_orchestrator_{name} (\S+)$", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"/metrics of the orchestrator has no {name}; is it named otherwise now?")
    return float(found.group(1))
