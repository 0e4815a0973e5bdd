"""What the graph of a loss tells about how it was reduced, where that is easily overlooked."""

from __future__ import annotations

from collections import deque
from typing import Any

import torch

_MAX_NODES = 32
_SUM = 2  # at::Reduction::Sum
_IGNORE_INDEX_HINT = (
    "the loss leaves out targets (ignore_index), but its mean is weighted with all samples of the batch; say what it is a mean over, so that a step is the mean over all that "
    "counts: run.step(loss, weight=(targets != ignore_index).sum())"
)
_SUM_HINT = "the loss looks like a sum over the batch (reduction='sum'), but is taken for a mean; write run.step(loss, reduction='sum')"


def _nodes(loss: torch.Tensor) -> list[Any]:
    """The nodes of a loss's graph that are nearest to it."""
    found: list[Any] = []
    waiting: deque[Any] = deque([loss.grad_fn])
    while waiting and len(found) < _MAX_NODES:
        node = waiting.popleft()
        if node is not None:
            found.append(node)
            waiting.extend(successor for successor, _ in node.next_functions)
    return found


def hint_about(loss: torch.Tensor) -> str | None:
    """A sentence if a loss that is given without weight and reduction likely needs one. To be asked before backward, which frees what it looks at."""
    try:
        for node in _nodes(loss):
            if getattr(node, "_saved_reduction", None) == _SUM:
                return _SUM_HINT
            if hasattr(node, "_saved_ignore_index") and hasattr(node, "_saved_target") and bool((node._saved_target == node._saved_ignore_index).any()):
                return _IGNORE_INDEX_HINT
    except RuntimeError:
        # The script has called backward itself, which run.step refuses.
        return None
    return None
