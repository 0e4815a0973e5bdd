"""Reads files of one JSON object per line while they grow: metrics.jsonl, notices and events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pangea.foreign import decode_object, open_regular


class JsonLinesFile:
    """A file of JSON lines that is read incrementally.

    Attributes:
        lines: all that were read so far.
    """

    def __init__(self, file: Path) -> None:
        self._file, self._position = file, 0
        self.lines: list[dict[str, Any]] = []

    def read_new(self) -> list[dict[str, Any]]:
        """The complete lines that were added since the last call; none while the file does not exist.

        Raises:
            UnreadableFile: a line is not a JSON object.
        """
        try:
            with open_regular(self._file) as stream:
                stream.seek(self._position)
                text = stream.read()
        except FileNotFoundError:
            return []
        whole = text[: text.rfind(b"\n") + 1]
        self._position += len(whole)
        new = [decode_object(line, f"a line of {self._file}") for line in whole.splitlines()]
        self.lines += new
        return new
