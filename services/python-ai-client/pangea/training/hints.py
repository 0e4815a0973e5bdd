"""Hints about the reduction of a loss, derived from its autograd graph, where a mistake is easily overlooked."""

from __future__ import annotations

from collections import deque
from typing import Any

import torch

_MAX_NODES = 32
_SUM = 2  # at::Reduction::Sum
_IGNORE_INDEX_HINT = (
    "the loss ignores targets (ignore_index), but is weighted by all samples of the batch; pass the number of targets"
    " that count, so that a step's loss is the mean over them: run.step(loss, weight=(targets != ignore_index).sum())"
)
_SUM_HINT = (
    "the loss looks like a sum over the batch (reduction='sum'), but is treated as a mean; write run.step(loss,"
    " reduction='sum')"
)


def _nodes(loss: torch.Tensor) -> list[Any]:
    """Returns the nodes of a loss's autograd graph that are closest to it."""
    found: list[Any] = []
    waiting: deque[Any] = deque([loss.grad_fn])
    while waiting and len(found) < _MAX_NODES:
        node = waiting.popleft()
        if node is not None:
            found.append(node)
            waiting.extend(successor for successor, _ in node.next_functions)
    return found


def hint_about(loss: torch.Tensor) -> str | None:
    """Returns advice if a loss likely needs a weight or a reduction. Call it before backward, which frees the graph."""
    try:
        for node in _nodes(loss):
            if getattr(node, "_saved_reduction", None) == _SUM:
                return _SUM_HINT
            if (
                hasattr(node, "_saved_ignore_index")
                and hasattr(node, "_saved_target")
                and bool((node._saved_target == node._saved_ignore_index).any())
            ):
                return _IGNORE_INDEX_HINT
    except RuntimeError:
        # The script has already called backward, which run.step refuses.
        return None
    return None
