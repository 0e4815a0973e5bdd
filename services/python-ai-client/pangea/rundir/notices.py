"""What a worker tells people while it trains. The launcher shows it on the terminal; without a launcher it is in the log alone."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path

_log = logging.getLogger("pangea")
SUFFIX = ".notices.jsonl"


class Notices:
    """The notices of one worker, each text once."""

    def __init__(self, run_dir: Path | None, worker: str) -> None:
        """Args:
        run_dir: of the run, if this machine sees it.
        worker: its name.
        """
        self._worker = worker
        self._file = run_dir / "logs" / (worker.replace("/", "_") + SUFFIX) if run_dir is not None else None
        self._seen: set[str] = set()

    def add(self, text: str) -> None:
        """Tells a sentence, unless it was told before."""
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
            # A full disk shall not end the training that the notice is about.
            _log.warning("cannot write %s: %s", self._file, error)
