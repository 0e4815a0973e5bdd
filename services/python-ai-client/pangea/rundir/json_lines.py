"""Reads metrics.jsonl as it grows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class JsonLinesFile:
    """The lines of a run's steps, read as they come."""

    def __init__(self, file: Path) -> None:
        self._file, self._position = file, 0
        self.lines: list[dict[str, Any]] = []

    def read_new(self) -> list[dict[str, Any]]:
        """The whole lines that came since the last call."""
        try:
            with self._file.open("rb") as stream:
                stream.seek(self._position)
                text = stream.read()
        except FileNotFoundError:
            return []
        whole = text[: text.rfind(b"\n") + 1]
        self._position += len(whole)
        new = [json.loads(line) for line in whole.splitlines()]
        self.lines += new
        return new
