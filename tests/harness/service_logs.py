"""An error in the log of a service fails a test, unless the test provokes it and says so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pangea.rundir.service_logs import read_service_logs


def assert_no_errors(run_dir: Path, expected: Sequence[str] = ()) -> None:
    """Fails if a service has logged an error that contains none of the expected texts."""
    unexpected = [line for line in read_service_logs(run_dir).errors if not any(text in line for text in expected)]
    assert not unexpected, "errors in the logs of services:\n" + "\n".join(unexpected)
