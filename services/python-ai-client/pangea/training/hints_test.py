"""A loss that ignores targets, or is a sum, is detected from its graph; others get no hint."""

import pytest
import torch
from torch.nn import functional

from pangea.training.hints import hint_about

X = torch.randn(6, 4, requires_grad=True)
Y = torch.tensor([0, 1, 2, 3, 0, 1])


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (functional.cross_entropy(X, Y), None),
        (functional.cross_entropy(X, Y, ignore_index=0), "weight=(targets != ignore_index).sum()"),
        (0.5 * functional.cross_entropy(X, Y, ignore_index=0) + X.square().mean(), "weight="),
        (functional.cross_entropy(X, Y, reduction="sum"), "reduction='sum'"),
        (functional.mse_loss(X, torch.zeros(6, 4), reduction="sum"), "reduction='sum'"),
        (functional.mse_loss(X, torch.zeros(6, 4)), None),
        (X.square().mean(), None),
    ],
)
def test_hints(loss: torch.Tensor, expected: str | None) -> None:
    hint = hint_about(loss)
    assert hint is None if expected is None else hint is not None and expected in hint
    loss.backward(retain_graph=True)  # type: ignore[no-untyped-call]
