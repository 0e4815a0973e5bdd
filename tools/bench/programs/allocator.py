"""The settings of the C library's allocator: Pangea's native module makes it keep freed memory when it is loaded, in a
peer that loads it as well, unless a variable forbids it."""

from __future__ import annotations

from pangea import _native

_NAMES = {"system": "as the C library sets it", "tuned": "tuned as for Pangea"}


def name(*, tuned: bool) -> str:
    """How a report names the allocator."""
    return _NAMES["tuned" if tuned else "system"]


def environment(*, tuned: bool) -> dict[str, str]:
    """The variables of a process whose allocator is to be tuned or not."""
    return {} if tuned else {"PANGEA_MALLOC": "system"}


def in_effect() -> str:
    """What this process's allocator does, for the report."""
    return _NAMES[_native.ALLOCATOR]
