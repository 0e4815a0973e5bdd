"""The checker detects an orchestrator that breaks a promise on purpose."""

import pytest

from tests.simulation.checker import check
from tests.simulation.histories import histories


@pytest.mark.parametrize(
    ("sabotage", "noticed"),
    [
        ("late-commit", "before it was committed"),
        ("no-sync", "the ledger is damaged"),
        ("flipped-gradient", "a sum of step"),
        ("unchecked-checkpoint", "which the undisturbed run does not have"),
        ("unchecked-state", "does not hold what the ledger says"),
    ],
)
def test_sabotage_is_found(sabotage: str, noticed: str) -> None:
    found: list[str] = []
    for history in histories(0, 300, sabotage):
        # What the simulation itself noticed is left out: the checker must see it in the history.
        found += check({**history, "violations": []})
        if any(noticed in one for one in found):
            return
    pytest.fail(f"{sabotage} was not noticed; found was {found[:5]}")
