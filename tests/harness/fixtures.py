"""Fixtures that the conftest.py of a suite takes over."""

import pytest

from tests.harness.cluster import Cluster, undisturbed


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """The run of one worker to which nothing happens: every other run has to end with its bits."""
    return undisturbed(tmp_path_factory.mktemp("alone"))
