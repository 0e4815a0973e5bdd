"""Checks the contributions of one step: its shards, its weights and its losses."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

from pangea.ledger.audit_finding import tree_sum
from pangea.ledger.records import Shard, Step
from pangea.printable import quoted

# Called with the short name of the refuted promise and the reason.
Refute = Callable[[str, str], None]


def check_shards(refute: Refute, step: Step, shards: int, workers: Collection[int]) -> None:
    """Checks that each shard is in the sum exactly once, and that all contributors are in `workers`.

    A step has the shards [0, shards).
    """
    seen: dict[int, int] = {}
    for part in step.contributions:
        first, count = part.first, part.count
        if not count or count & (count - 1) or first % count or first + count > shards:
            refute(
                "shards",
                f"step {step.step}: the shards [{first}, {first + count}) of worker {part.worker} are not a node of the"
                f" tree over {shards}",
            )
        # Not as a list of the expected ones: what a record claims may not fit into memory.
        listed = [shard.shard for shard in part.shards]
        if len(listed) != count or any(number != first + place for place, number in enumerate(listed)):
            refute(
                "shards",
                f"step {step.step}: the contribution of worker {part.worker} for the shards [{first}, {first + count})"
                f" lists the shards {quoted(listed)}",
            )
        if part.worker not in workers:
            refute(
                "workers",
                f"step {step.step}: worker {part.worker}, which contributed the shards [{first}, {first + count}), has"
                " not joined",
            )
        for shard in part.shards:
            seen[shard.shard] = seen.get(shard.shard, 0) + 1
    for number in range(shards):
        if (times := seen.pop(number, 0)) != 1:
            refute("shards", f"step {step.step}: shard {number} is in the sum {times} times")
    for number in seen:
        refute("shards", f"step {step.step}: there is no shard {number}, as a step has {shards}")


def check_weights(refute: Refute, step: Step, format_: int) -> float:
    """Checks the weights of the shards and the divisor of the step; returns the sum of the weights."""
    shards = _shards(step)
    weights = [_checked_weight(refute, step, shard, format_) for shard in shards]
    kinds = {shard.summed for shard in shards if shard.end > shard.start}
    if len(kinds) > 1:
        refute("weights", f"step {step.step}: the losses of some shards are sums, and those of others are means")
    if not _is_power_of_two(len(weights)):
        return 0.0  # `check_shards` has refuted the step.
    total = tree_sum(weights)
    wanted = 1.0 if True in kinds else total
    if step.divisor is None and format_ > 1:
        refute("weights", f"step {step.step} has no divisor")
    elif not _equal(found := float(step.samples) if step.divisor is None else step.divisor, wanted):
        refute("weights", f"step {step.step}: its divisor is {found!r}, but its shards give {wanted!r}")
    return total


def _checked_weight(refute: Refute, step: Step, shard: Shard, format_: int) -> float:
    weight, samples = shard.weight, shard.end - shard.start
    if weight is None:
        if format_ > 1:
            refute("weights", f"step {step.step}: shard {shard.shard} has no weight")
        weight = float(samples)
    if not 0 <= weight < math.inf:
        refute("weights", f"step {step.step}: shard {shard.shard} has the weight {weight}")
    elif weight and not samples:
        refute("weights", f"step {step.step}: shard {shard.shard} has the weight {weight}, but no samples")
    return weight


def check_losses(refute: Refute, step: Step) -> None:
    """Checks that the losses of the shards add up to that of the step."""
    losses = [shard.loss_sum for shard in _shards(step)]
    if not _is_power_of_two(len(losses)):
        return  # `check_shards` has refuted the step.
    total = tree_sum(losses)
    if not _equal(total, step.loss_sum):
        refute(
            "losses",
            f"step {step.step}: the losses of its shards add up to {total!r}, but its loss_sum is {step.loss_sum!r}",
        )


def _shards(step: Step) -> list[Shard]:
    return [shard for part in step.contributions for shard in part.shards]


def _is_power_of_two(number: int) -> bool:
    return number > 0 and not number & (number - 1)


def _equal(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))
