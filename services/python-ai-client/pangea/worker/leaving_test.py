"""The end of a process that was asked to leave quickly."""

import subprocess
import sys
from pathlib import Path

from pangea.places import python_environment

_SCRIPT = """
import atexit, sys
from pangea.worker.leaving import leave_quickly

class Log:
    def __init__(self, file):
        self.file = open(file, "w")
        self.itself = self  # only a search for garbage would find it

    def __del__(self):
        print("destroyed")

atexit.register(print, "registered earlier")
leave_quickly()
leave_quickly()
log = Log(sys.argv[1])
log.file.write("the last line")
bytes_only = open(sys.argv[2], "wb")
bytes_only.write(b"bytes")
closed = open(sys.argv[2], "rb")
closed.close()
"""


def test_files_are_complete_and_garbage_is_not_searched(tmp_path: Path) -> None:
    text, binary = tmp_path / "text", tmp_path / "binary"
    ended = subprocess.run(
        [sys.executable, "-c", _SCRIPT, text, binary],
        env=python_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert (text.read_text(), binary.read_bytes()) == ("the last line", b"bytes")
    assert (ended.stdout, ended.stderr) == ("registered earlier\n", "")
