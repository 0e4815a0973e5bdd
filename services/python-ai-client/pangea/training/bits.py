"""Compares the sums of random leases, bit by bit, with a plain implementation that copies every gradient.

    ./bazelw run //services/python-ai-client/pangea/training:bits -- --seeds 1000

The models are awkward on purpose: each has gradients that autograd shares, leaves out, adds up twice or lays out
differently, or a script that holds them.
"""

from __future__ import annotations

import argparse
import random
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from pangea.training.determinism import configure_torch
from pangea.training.gradients import Parameters
from pangea.training.lease import Lease, ShardReport
from pangea.training.sums import GradientSum, VectorPool
from pangea.training.tree import Node, merge

FEATURES, CLASSES = 12, 5


def copied_sum(parameters: Parameters, loss: torch.Tensor, samples: int, weight: float) -> torch.Tensor:
    """Returns the contribution of a shard in a flat vector, as `Parameters.gradient_sum` defines it."""
    parameters.clear_gradients()
    if weight != 0:
        (loss * weight).backward()  # type: ignore[no-untyped-call]
    flat = torch.empty(parameters.elements)
    offset = 0
    for parameter in parameters.trainable.values():
        part = flat[offset : offset + parameter.numel()]
        if parameter.grad is None:
            part.zero_()
        else:
            part.copy_(parameter.grad.reshape(-1))
        offset += parameter.numel()
    used = [float(parameter.grad is not None) for parameter in parameters.trainable.values()]
    flat[offset : offset + len(used)] = torch.tensor(used)
    parameters.clear_gradients()
    parameters.buffers.write_change(samples, flat[offset + len(used) :])
    parameters.buffers.reset()
    return flat


class Odd(nn.Module):
    """Tied weights, parameters used sometimes or never, BatchNorm, a channels_last convolution, negative zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(FEATURES, FEATURES), nn.Linear(FEATURES, FEATURES)
        self.b.weight = self.a.weight
        self.sometimes, self.never = nn.Linear(FEATURES, FEATURES), nn.Linear(FEATURES, 3)
        self.zero, self.norm = nn.Parameter(torch.randn(7)), nn.BatchNorm1d(FEATURES)
        self.conv, self.out = nn.Conv2d(3, 4, 2), nn.Linear(FEATURES + 4, CLASSES)

    def forward(self, x: torch.Tensor, shard: int) -> torch.Tensor:
        h = self.b(torch.relu(self.norm(self.a(x))))
        if shard % 3 == 1:
            h = h + self.sometimes(h)
        image = x.view(-1, 3, 2, 2).contiguous(memory_format=torch.channels_last)
        h = torch.cat([h, self.conv(image).flatten(1)], 1)
        out: torch.Tensor = self.out(h) + (self.zero * -0.0).sum() * (1.0 if shard % 2 else 0.0)
        return out


class Again(nn.Module):
    """A reentrant checkpoint over a tied layer: its gradient is accumulated twice within one backward."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.out = nn.Linear(FEATURES, FEATURES), nn.Linear(FEATURES, CLASSES)

    def forward(self, x: torch.Tensor, _shard: int) -> torch.Tensor:
        x = x.clone().requires_grad_()
        inner = checkpoint(lambda t: torch.tanh(self.a(t)), x, use_reentrant=True)
        out: torch.Tensor = self.out(self.a(inner))
        return out


class Views(nn.Module):
    """Gradients that are views of each other's memory, or that are not contiguous."""

    def __init__(self) -> None:
        super().__init__()
        self.halves = nn.ParameterList([nn.Parameter(torch.randn(FEATURES, 3)) for _ in range(2)])
        self.flat, self.square = nn.Parameter(torch.randn(6 * CLASSES)), nn.Parameter(torch.randn(6, CLASSES))
        self.turned, self.scalar = nn.Parameter(torch.randn(CLASSES, 6)), nn.Parameter(torch.tensor(0.5))
        self.wide = nn.Parameter(torch.randn(CLASSES))

    def forward(self, x: torch.Tensor, _shard: int) -> torch.Tensor:
        h = torch.tanh(x @ torch.cat(list(self.halves), 1))
        weight = self.flat.view(6, CLASSES) + self.square + self.turned.t()
        return h @ weight + self.scalar.expand(CLASSES) + self.wide


class Workspace(torch.autograd.Function):
    """Returns gradients in memory that it uses again: a view of a tensor, or an array of numpy."""

    tensor = torch.zeros(FEATURES * CLASSES)
    array = np.zeros(CLASSES, np.float32)

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return x @ weight + bias

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x, weight = ctx.saved_tensors
        Workspace.tensor.copy_((x.t() @ gradients[0]).reshape(-1))
        np.copyto(Workspace.array, gradients[0].sum(0).numpy())
        return gradients[0] @ weight.t(), Workspace.tensor.view(FEATURES, CLASSES), torch.from_numpy(Workspace.array)


class Reused(nn.Module):
    """A function of the script's own whose gradients are in memory that the next shard overwrites."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(FEATURES, CLASSES)), nn.Parameter(torch.randn(CLASSES))

    def forward(self, x: torch.Tensor, _shard: int) -> torch.Tensor:
        out: torch.Tensor = Workspace.apply(x, self.weight, self.bias)  # type: ignore[no-untyped-call]
        return out


class Held(nn.Module):
    """A script that keeps gradients, and views of them, and gives one tensor to two parameters.

    Attributes:
        kept: tensors of the script, each with the values that it had when the script got it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(FEATURES, FEATURES) for _ in range(4)])
        self.out = nn.Linear(FEATURES, CLASSES)
        self.kept: list[tuple[torch.Tensor, torch.Tensor]] = []
        first, second, third, fourth = self.layers
        first.weight.register_post_accumulate_grad_hook(lambda p: self._keep(p.grad))
        second.weight.register_post_accumulate_grad_hook(lambda p: self._keep(torch.as_tensor(p.grad)[3:5].detach()))
        third.weight.register_post_accumulate_grad_hook(
            lambda p: self._keep(torch.from_numpy(torch.as_tensor(p.grad).numpy()))
        )
        constant = torch.randn(FEATURES)
        self._keep(constant)
        third.bias.register_hook(lambda _: constant)
        fourth.bias.register_post_accumulate_grad_hook(self._give_to_both)

    def _keep(self, tensor: torch.Tensor | None) -> None:
        assert tensor is not None
        self.kept.append((tensor, tensor.clone()))

    def _give_to_both(self, parameter: torch.Tensor) -> None:
        self.out.bias.grad = parameter.grad[:CLASSES] if parameter.grad is not None else None
        self.layers[0].bias.grad = parameter.grad

    def forward(self, x: torch.Tensor, _shard: int) -> torch.Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x))
            if x.requires_grad:
                x.register_hook(self._keep)  # type: ignore[no-untyped-call]
        out: torch.Tensor = self.out(x)
        return out


class Tiny(nn.Module):
    """Gradients around the smallest numbers that a float32 has."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(FEATURES, CLASSES)

    def forward(self, x: torch.Tensor, _shard: int) -> torch.Tensor:
        out: torch.Tensor = self.out(x) * 1e-38
        return out


MODELS: list[type[nn.Module]] = [Odd, Again, Views, Reused, Held, Tiny]


@dataclass(frozen=True)
class Case:
    """A random lease.

    Attributes:
        samples, weights: of each shard.
        dtype: of the loss.
        not_finite: shards with NaN or infinity in their samples.
    """

    model: type[nn.Module]
    shards: list[int]
    samples: dict[int, int]
    weights: dict[int, float]
    separate: frozenset[int]
    dtype: torch.dtype
    not_finite: frozenset[int]
    seed: int

    @classmethod
    def random(cls, seed: int) -> Case:
        """Returns the case of a seed."""
        rng = random.Random(seed)
        total = rng.choice([1, 2, 4, 8, 16])
        first = rng.choice([0, 0, rng.randrange(total)])
        missing = rng.choice([0, 0, rng.randrange(total - first)])
        shards = sorted(rng.sample(range(first, total), total - first - missing))
        samples = {shard: rng.choice([0, 2, 2, 3, 3, 5, 5]) for shard in shards}
        weights = {
            shard: rng.choice([float(count), float(count), 0.0, 1.0, 0.1, 257.0, rng.uniform(0, 1e6)])
            for shard, count in samples.items()
        }
        return cls(
            model=MODELS[seed % len(MODELS)],
            shards=shards,
            samples=samples,
            weights=weights,
            separate=frozenset(shard for shard in shards if rng.random() < 0.1),
            dtype=rng.choice([torch.float32, torch.float32, torch.float64, torch.bfloat16]),
            not_finite=frozenset(shard for shard in shards if rng.random() < 0.03),
            seed=seed,
        )

    def build(self) -> nn.Module:
        """Returns the model, the same each time."""
        torch.manual_seed(self.seed)
        return self.model()

    def loss(self, model: nn.Module, shard: int) -> torch.Tensor:
        """Returns the loss of a shard."""
        generator = torch.Generator().manual_seed(1000 * self.seed + shard)
        x = torch.randn(self.samples[shard], FEATURES, generator=generator)
        y = torch.randint(0, CLASSES, (len(x),), generator=generator)
        if shard in self.not_finite:
            x[0, shard % FEATURES] = float("nan") if shard % 2 else float("inf")
        return functional.cross_entropy(model(x, shard).to(self.dtype), y)

    def present(self, model: nn.Module) -> list[Node[torch.Tensor]]:
        """Returns the roots of the lease, as a worker computes them."""
        parameters = Parameters(model)
        lease = Lease(0, 0, 0, self.shards, self.separate, VectorPool(parameters.elements))

        def contribution(shard: int) -> GradientSum:
            if self.samples[shard] == 0:
                return parameters.zero_sum()
            parameters.begin_shard()
            return parameters.gradient_sum(self.loss(model, shard), self.samples[shard], self.weights[shard])

        for shard in self.shards:
            lease.record(ShardReport(shard, self.samples[shard], 0.0, b"", 0.0), contribution(shard))
        return [Node(root.first, root.count, root.value.flat()) for root in lease.roots()]

    def reference(self, model: nn.Module) -> list[Node[torch.Tensor]]:
        """Returns the roots of the lease, from copies that torch adds in pairs."""
        parameters = Parameters(model)

        def contribution(shard: int) -> torch.Tensor:
            if self.samples[shard] == 0:
                return torch.zeros(parameters.elements)
            parameters.begin_shard()
            return copied_sum(parameters, self.loss(model, shard), self.samples[shard], self.weights[shard])

        return merge({shard: contribution(shard) for shard in self.shards}, torch.add, self.separate)


def bits(tensor: torch.Tensor) -> torch.Tensor:
    """Returns the bits of float32 numbers; of every NaN the same ones.

    Which of two NaNs a sum keeps depends on the order of the operands in the instruction, which is the compiler's
    choice. Nobody compares them: the orchestrator refuses a contribution that has any.
    """
    return torch.where(tensor.isnan(), torch.full_like(tensor, float("nan")), tensor).view(torch.int32)


def difference(case: Case) -> str:
    """Returns how the present sums of a case differ from the reference; empty if they do not."""
    model = case.build()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        present, reference = case.present(model), case.reference(case.build())
    if [(root.first, root.count) for root in present] != [(root.first, root.count) for root in reference]:
        return f"{case}: the roots are {present} instead of {reference}"
    for got, expected in zip(present, reference, strict=True):
        different = (bits(got.value) != bits(expected.value)).nonzero().flatten().tolist()
        if different:
            return f"{case}: {len(different)} elements of root {got.first}..+{got.count} differ, from {different[0]}"
    for tensor, values in getattr(model, "kept", []):
        if not torch.equal(bits(tensor), bits(values)):
            return f"{case}: a tensor of the script was written"
    return ""


def main(report: Callable[[str], object] = print) -> None:
    """Compares as many cases as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="number of cases, from seed 0")
    arguments = parser.parse_args()
    configure_torch()
    found = [text for seed in range(arguments.seeds) if (text := difference(Case.random(seed)))]
    report(f"{arguments.seeds - len(found)} of {arguments.seeds} random leases have the bits of the reference")
    if found:
        raise SystemExit("\n".join(found[:10]))


if __name__ == "__main__":
    main()
