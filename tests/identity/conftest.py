"""The fixtures of this suite."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.fixtures import alone
from tests.identity.people import People

__all__ = ["alone", "people"]


@pytest.fixture
def people(tmp_path: Path) -> People:
    """A run's authority, and certificates for its services and for workers of two names."""
    return People(tmp_path / "people")
