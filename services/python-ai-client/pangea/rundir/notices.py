"""Notices: what users should know about their script, found by a worker while it trains.

The launcher shows them on the terminal; without a launcher they are only in the worker's log.
"""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path

_log = logging.getLogger("pangea")
SUFFIX = ".notices.jsonl"


class Notices:
    """The notices of one worker; repeated ones are dropped."""

    def __init__(self, run_dir: Path | None, worker: str) -> None:
        """Args:
        run_dir: the run directory; None if it is not on this machine.
        worker: the worker's name.
        """
        self._worker = worker
        self._file = run_dir / "logs" / (worker.replace("/", "_") + SUFFIX) if run_dir is not None else None
        self._seen: set[str] = set()

    def add(self, text: str) -> None:
        """Logs a notice and writes it to the worker's file, unless the same text was added before."""
        if text in self._seen:
            return
        self._seen.add(text)
        _log.warning("%s: %s", self._worker, text)
        if self._file is None or not self._file.parent.is_dir():
            return
        try:
            with self._file.open("a") as stream:
                stream.write(json.dumps({"time": time.time(), "worker": self._worker, "text": text}) + "\n")
        except OSError as error:
            # A full disk must not end the training.
            _log.warning("cannot write %s: %s", self._file, error)
