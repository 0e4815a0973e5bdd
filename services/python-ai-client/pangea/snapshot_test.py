"""A snapshot carries the whole state: training goes on from it with the same bits."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from pangea import snapshot
from pangea.hashing import tensors_hash

OPTIMIZERS: dict[str, Callable[[nn.Module], torch.optim.Optimizer]] = {
    "sgd": lambda model: torch.optim.SGD(model.parameters(), lr=0.1),
    "momentum": lambda model: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True),
    "adamw": lambda model: torch.optim.AdamW(model.parameters(), lr=0.01, amsgrad=True),
    "adam with a tensor as rate": lambda model: torch.optim.Adam(model.parameters(), lr=torch.tensor(0.01), capturable=False, foreach=False),
    "rmsprop": lambda model: torch.optim.RMSprop(model.parameters(), momentum=0.5, centered=True),
    "adagrad": lambda model: torch.optim.Adagrad(model.parameters()),
    "nadam": lambda model: torch.optim.NAdam(model.parameters()),
    "two groups": lambda model: torch.optim.AdamW(two_groups(model)),
}


def two_groups(model: nn.Module) -> list[dict[str, Any]]:
    return [{"params": [p for p in model.parameters() if p.ndim > 1]}, {"params": [p for p in model.parameters() if p.ndim == 1], "lr": 0.5}]


def build(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


def advance(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        torch.manual_seed(step)
        optimizer.zero_grad()
        model(torch.randn(16, 4)).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_from_a_snapshot_with_the_same_bits(name: str) -> None:
    model = build(1)
    optimizer = OPTIMIZERS[name](model)
    advance(model, optimizer, range(3))
    data = snapshot.encode(model, optimizer, 3)
    advance(model, optimizer, range(3, 6))

    other = build(2)
    other_optimizer = OPTIMIZERS[name](other)
    assert snapshot.decode_into(data, other, other_optimizer) == 3
    advance(other, other_optimizer, range(3, 6))
    assert tensors_hash(other.state_dict().values()) == tensors_hash(model.state_dict().values())


def test_the_same_state_gives_the_same_bytes() -> None:
    model = build(1)
    optimizer = OPTIMIZERS["adamw"](model)
    advance(model, optimizer, range(2))
    assert snapshot.encode(model, optimizer, 2) == snapshot.encode(model, optimizer, 2)


def test_bytes_of_something_else_are_refused() -> None:
    model = build(1)
    optimizer = OPTIMIZERS["sgd"](model)
    data = snapshot.encode(model, optimizer, 0)
    for broken in (b"", data[:100], b"\x80\x04pickle" + data, data[:-1]):
        with pytest.raises(snapshot.BadSnapshot):
            snapshot.decode_into(broken, build(1), optimizer)
    with pytest.raises(snapshot.BadSnapshot, match="does not fit"):
        snapshot.decode_into(data, nn.Linear(4, 8), optimizer)
