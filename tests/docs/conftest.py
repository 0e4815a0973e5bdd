"""Shared by the tests of the documents."""

from __future__ import annotations

import pytest

from tests.docs.workspace import read


@pytest.fixture
def text(document: str) -> str:
    """The text of the document that a test looks at."""
    return read(document)
