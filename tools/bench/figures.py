"""The statistics of a comparison: medians and ranges, since the noise of a shared machine is one-sided and only makes things slower."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """The spread of a few values: median, median absolute deviation from it, lowest, highest."""

    median: float
    mad: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """The spread of at least one value.

    Raises:
        ValueError: there is none.
    """
    if not values:
        raise ValueError("there is no value to compute the spread of; measure at least once")
    median = statistics.median(values)
    return Spread(median, statistics.median(abs(value - median) for value in values), min(values), max(values))


def speedups(ours: Sequence[float], peer: Sequence[float], *, more_is_better: bool) -> list[float]:
    """How many times as fast ours is, round by round; above 1 ours is faster. Anything that slows down a whole round slows both, and cancels out.

    Args:
        ours, peer: values of the same rounds, above 0.
        more_is_better: whether a larger value is better.
    """
    return [mine / other if more_is_better else other / mine for mine, other in zip(ours, peer, strict=True)]
