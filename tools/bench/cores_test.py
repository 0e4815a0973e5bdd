import os
import subprocess
import sys

import pytest

from pangea.services.child import wait_for
from tools.bench.programs import cores


def test_the_time_of_another_process_is_that_of_this_one_seen_from_outside() -> None:
    before, seen, after = cores.own(), cores.used([os.getpid()]), cores.own()
    assert before <= seen <= after


def test_what_a_busy_process_uses_grows() -> None:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        first = cores.used([busy.pid])
        assert wait_for(lambda: cores.used([busy.pid]) > first or None, 60.0)
    finally:
        busy.kill()
        busy.wait()


def test_a_process_that_has_ended_is_named() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with pytest.raises(cores.ProcessGone, match=f"process {ended.pid} cannot be read: No such process"):
        cores.used([ended.pid])
