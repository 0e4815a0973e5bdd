"""The models that are trained, each with its loss and optimizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from pangea.examples import characters, digits

Loss = Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Recipe:
    """How to make a model, its mean loss over a batch, and its optimizer."""

    model: Callable[[], nn.Module]
    loss: Loss
    optimizer: Callable[[nn.Module], torch.optim.Optimizer]


def _mlp() -> nn.Module:
    """5.82 million parameters: much to exchange for little to compute."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 2048), nn.ReLU(), nn.Linear(2048, 2048), nn.ReLU(), nn.Linear(2048, 10)
    )


def _wide() -> nn.Module:
    """11.9 million parameters: with the momentum of each, a checkpoint of 95 MB."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 3072), nn.ReLU(), nn.Linear(3072, 3072), nn.ReLU(), nn.Linear(3072, 10)
    )


def _cnn() -> nn.Module:
    """0.02 million parameters: little to exchange for much to compute."""
    features = [
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
    ]
    return nn.Sequential(*features, nn.Flatten(), nn.Linear(32 * 49, 10))


def _classes(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(model(x), y)


def _momentum(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)


RECIPES = {
    "mlp": Recipe(_mlp, _classes, _momentum),
    "wide": Recipe(_wide, _classes, _momentum),
    "cnn": Recipe(_cnn, _classes, _momentum),
    "digits": Recipe(digits.build_model, _classes, lambda model: torch.optim.AdamW(model.parameters(), lr=2e-3)),
    "characters": Recipe(
        characters.Characters, characters.loss_of, lambda model: torch.optim.AdamW(model.parameters(), lr=1e-3)
    ),
}


def described(optimizer: torch.optim.Optimizer) -> str:
    """The optimizer and which of its implementations it uses: both contenders are given the same one."""
    chosen = [name for name in ("fused", "foreach") if optimizer.defaults.get(name)]
    return f"{type(optimizer).__name__}, {' and '.join(chosen) or 'default'} implementation"
