"""The fixtures of this suite."""

from tests.harness.fixtures import alone

__all__ = ["alone"]
