"""What the tests of this folder share."""

import pytest

from tests.harness.stage import Stage, undisturbed


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The run that nothing happened to: the bits that every other one has to end with."""
    return undisturbed(tmp_path_factory.mktemp("alone"))
