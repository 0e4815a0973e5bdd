"""Interrupts the run at a step that the test names, once, as Ctrl-C or a cluster would."""

import os
import signal

from pangea import Batch

_STEP = int(os.environ.get("INTERRUPT_STEP", "-1"))
_WORKER = os.getpid()


def interrupt(batch: Batch) -> None:
    """Sends SIGTERM to INTERRUPT_PID, by default the launcher, in INTERRUPT_STEP; never in a rehearsal."""
    if (batch.step, batch.shard) == (_STEP, 0) and os.getpid() == _WORKER:
        os.kill(int(os.environ.get("INTERRUPT_PID", os.getppid())), signal.SIGTERM)
