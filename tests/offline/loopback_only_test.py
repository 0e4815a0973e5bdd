"""A command that is started through loopback_only sees a loopback that is up, and no other network."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import os, socket
listener = socket.create_server(("127.0.0.1", 0))
socket.create_connection(listener.getsockname(), timeout=10).close()
try:
    socket.create_connection(("192.0.2.1", 80), timeout=10)
except OSError as error:
    print([name for _, name in socket.if_nameindex()], os.readlink("/proc/self/ns/net"), error.strerror)
"""


def test_the_loopback_works_and_nothing_else_is_there() -> None:
    python = os.environ.get("PANGEA_PYTHON", sys.executable)
    result = subprocess.run(
        [python, "-m", "tests.offline.loopback_only", python, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("['lo'] net:[") and result.stdout.endswith("Network is unreachable\n")
    assert os.readlink("/proc/self/ns/net") not in result.stdout
