"""A worker that would compute different bits is refused at the join with the difference, and disturbs nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.cluster import SCRIPT, cluster

# What changes a worker's arithmetic before it joins, and the reason that it is refused with.
OTHERS = {
    "another operator": (
        "import torch\nfrom pangea.training import fingerprints\n"
        "fingerprints.OPERATORS['matmul'] = lambda: torch.zeros(3)\n",
        "matmul of the same inputs give different bits; pin its arithmetic to that of the run (--arithmetic)",
    ),
    "another level": (
        "from pangea.worker import join\njoin.ensure_pinned = lambda: 'other'\n",
        "its arithmetic is pinned to other, that of the run to ",
    ),
}


@pytest.mark.parametrize("other", OTHERS)
def test_it_is_refused_with_the_difference_and_the_run_continues(other: str, tmp_path: Path) -> None:
    change, reason = OTHERS[other]
    script = tmp_path / "other.py"
    script.write_text(change + SCRIPT.read_text())
    with cluster(tmp_path / "run") as running:
        running.start_worker("first", gate_step=0)
        running.wait_gate("first")
        running.start_worker("second", script=script)
        running.wait_exit("second", 1)
        assert reason in running.workers["second"].log.read_text()
        running.open_gate("first")
        running.wait_exit("first")
        assert running.final()
