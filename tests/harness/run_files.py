"""The files of a run, as tests read and compare them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pangea.ledger.audit import audit_ledger
from pangea.ledger.reader import NAME, Entry, Reader


class RunFiles:
    """One run directory. What starts processes derives from this."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir

    def read(self, name: str) -> dict[str, Any]:
        """A JSON file of the run: `run.json`, `result.json`, `launch.json`."""
        return dict(json.loads((self.run_dir / name).read_text()))

    def metrics(self) -> list[dict[str, Any]]:
        """The complete lines of metrics.jsonl; none before the first step is committed."""
        file = self.run_dir / "metrics.jsonl"
        lines = file.read_text().splitlines(keepends=True) if file.exists() else []
        # The orchestrator may be writing the last one.
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def hashes(self) -> list[str]:
        """`params_hash` after each step."""
        lines = self.metrics()
        assert lines, "metrics.jsonl has no steps"
        assert [line["step"] for line in lines] == list(range(len(lines))), "metrics.jsonl has a gap in its steps"
        return [line["params_hash"] for line in lines]

    def figures(self) -> list[dict[str, float]]:
        """What the script logged in each step."""
        return [line.get("figures", {}) for line in self.metrics()]

    def final(self) -> bytes:
        """The bytes of the trained weights."""
        return (self.run_dir / "final.safetensors").read_bytes()

    def checkpoints(self) -> set[Path]:
        """The checkpoint files that are kept."""
        return {*(self.run_dir / "checkpoints").glob("*.safetensors")}

    def log(self, name: str) -> str:
        """Everything that processes of this name have logged, over all restarts."""
        return (self.run_dir / "logs" / f"{name}.log").read_text()

    def entries(self) -> list[Entry]:
        """The entries of the ledger; reading them verifies the chain."""
        with (self.run_dir / NAME).open("rb") as stream:
            return list(Reader(stream))

    def records(self, kind: type[Any]) -> list[Any]:
        """The records of one kind in the ledger."""
        return [entry.record for entry in self.entries() if isinstance(entry.record, kind)]

    def audit(self) -> None:
        """Asserts that the ledger proves its promises and that every incident was resolved."""
        with (self.run_dir / NAME).open("rb") as stream:
            report = audit_ledger(stream)
        assert report.holds, report.findings
        assert report.audit.incidents.unresolved == 0, report.audit.incidents.kinds
