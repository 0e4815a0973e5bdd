"""What models do beyond plain layers: each kind has the same bits for any number of workers, and those of torch alone.

A fourth worker joins by snapshot, so each kind is also saved and restored.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap  # type: ignore[attr-defined]
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from pangea.training.devices import accelerator
from pangea.training.devices.accelerator import Accelerator
from pangea.training.devices.delayed import Delayed
from pangea.training.devices.device import Device
from pangea.training.devices.immediate import ImmediateStreams
from pangea.training.gradients import Parameters
from pangea.training.hashing import tensors_hash
from pangea.training.optimizer import Training
from pangea.training.simulated import Loss, assert_same_bits, careful
from pangea.training.snapshot import reads_complex

FEATURES = 64


class Checkpointed(nn.Module):
    """Computes its middle a second time in backward."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.first, self.last, self.reentrant = nn.Linear(FEATURES, 12), nn.Linear(12, 3), reentrant
        self.middle = nn.Sequential(nn.Linear(12, 12), nn.Tanh(), nn.Dropout(0.3))

    def forward(self, x: torch.Tensor) -> Any:
        return self.last(checkpoint(self.middle, self.first(x), use_reentrant=self.reentrant))


class Language(nn.Module):
    """An LSTM over tokens, whose head has the weights of its embedding."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU]) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(11, 8), nn.Linear(8, 11, bias=False)
        self.body = kind(8, 8, num_layers=2, batch_first=True, dropout=0.2)
        self.head.weight = self.embedding.weight

    def forward(self, x: torch.Tensor) -> Any:
        self.body.flatten_parameters()
        return self.head(self.body(self.embedding((x[:, :9].abs() * 3).long().clamp_max(10)))[0])


class Spectrum(nn.Module):
    """A layer with complex weights, in the frequency domain."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(FEATURES // 2 + 1, dtype=torch.complex64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = torch.fft.irfft(torch.fft.rfft(x) * self.weight)
        return output


class Counting(nn.Module):
    """Buffers of whole numbers, truth values and caches."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(FEATURES, 4)
        self.register_buffer("calls", torch.tensor(0))
        self.register_buffer("mask", torch.tensor([True, False, True, True]))
        self.register_buffer("cache", torch.zeros(2, dtype=torch.complex64), persistent=False)

    def forward(self, x: torch.Tensor) -> Any:
        self.get_buffer("calls").add_(1)
        self.get_buffer("cache").add_(1j)
        return self.inner(x) * self.get_buffer("mask")


def hooked() -> nn.Module:
    """Hooks on modules and tensors, before and after gradients are accumulated."""
    model = nn.Sequential(nn.Linear(FEATURES, 8), nn.ReLU(), nn.Linear(8, 3))
    model[0].register_forward_pre_hook(lambda _module, inputs: (inputs[0] * 2,))
    model[1].register_forward_hook(lambda _module, _inputs, output: output + 0.1)
    model[0].register_full_backward_hook(lambda _module, gradient, _: tuple(part for part in gradient))
    model[2].weight.register_hook(lambda gradient: 2 * gradient)

    def halve(parameter: torch.Tensor) -> None:
        assert parameter.grad is not None
        parameter.grad.mul_(0.5)

    model[0].weight.register_post_accumulate_grad_hook(halve)
    return model


def layers(*, channels_last: bool = False) -> nn.Module:
    """A convolutional network over images of 8 by 8."""
    model = nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.Flatten()
    )
    if channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def dense() -> nn.Module:
    return nn.Sequential(nn.Linear(FEATURES, 12), nn.ReLU(), nn.Linear(12, 3))


def parametrized() -> nn.Module:
    return nn.Sequential(
        parametrizations.weight_norm(nn.Linear(FEATURES, 8)),
        parametrizations.spectral_norm(nn.Linear(8, 8)),
        parametrizations.orthogonal(nn.Linear(8, 8)),
    )


def transposed() -> nn.Module:
    model = dense()
    model.get_submodule("0").weight = nn.Parameter((0.1 * torch.randn(FEATURES, 12)).t())
    return model


def in_autocast(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return careful(model, x)


def functional(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Computes a loss with a gradient penalty, by torch.func."""
    parameters: dict[str, torch.Tensor] = dict(model.named_parameters())

    def outputs(x: torch.Tensor) -> Any:
        return functional_call(model, parameters, (x,))

    slopes = vmap(grad(lambda one: outputs(one[None]).square().sum()))(x)
    loss: torch.Tensor = outputs(x).square().mean() + 0.1 * slopes.square().mean()
    return loss


def twice_differentiated(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    x = x.clone().requires_grad_()
    output = model(x)
    (slope,) = torch.autograd.grad(output.square().sum(), x, create_graph=True)
    loss: torch.Tensor = output.square().mean() + (slope.norm(dim=1) - 1).square().mean()
    return loss


def in_bfloat16(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return careful(model, x.bfloat16()).float()


# A model, and how its loss is computed.
KINDS: dict[str, tuple[Callable[[], nn.Module], Loss]] = {
    "autocast": (layers, in_autocast),
    "bfloat16 parameters": (lambda: dense().bfloat16(), in_bfloat16),
    "channels_last": (lambda: layers(channels_last=True), careful),
    "checkpointing": (lambda: Checkpointed(reentrant=False), careful),
    "checkpointing, reentrant": (lambda: Checkpointed(reentrant=True), careful),
    "complex parameters": (Spectrum, careful),
    "counting buffers": (Counting, careful),
    "GRU, tied": (lambda: Language(nn.GRU), careful),
    "gradient penalty": (dense, twice_differentiated),
    "hooks": (hooked, careful),
    "LSTM, tied": (lambda: Language(nn.LSTM), careful),
    "parametrizations": (parametrized, careful),
    "torch.compile": (lambda: compiled(dense()), careful),
    "torch.func": (dense, functional),
    "transposed parameter": (transposed, careful),
}


if not reads_complex():
    del KINDS["complex parameters"]


def compiled(model: nn.Module) -> nn.Module:
    # The backend inductor needs a compiler; tracing and differentiating before the run is the same.
    model.compile(backend="aot_eager")  # type: ignore[no-untyped-call]
    return model


def build(kind: str, optimizer: Callable[[Any], torch.optim.Optimizer], device: Device | None = None) -> Training:
    torch.manual_seed(7)
    model = KINDS[kind][0]()
    return Training(Parameters(model, device=device), optimizer(model.parameters()))


def fused(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=0.05, fused=True)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_bits_with_any_number_of_workers(kind: str) -> None:
    torch._dynamo.reset()
    assert_same_bits(lambda: build(kind, torch.optim.AdamW), 4, KINDS[kind][1], FEATURES)


def without_queues() -> Device:
    return Accelerator(torch.device("cpu"), ImmediateStreams())


@pytest.mark.parametrize("device", [Delayed, without_queues])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "torch.compile"])
def test_the_same_bits_on_another_device(
    kind: str, device: Callable[[], Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    # All tensors take the way of large ones.
    monkeypatch.setattr(accelerator, "_SMALL_BYTES", 0)
    on_cpu = assert_same_bits(lambda: build(kind, torch.optim.AdamW), 3, KINDS[kind][1], FEATURES)
    on_device = assert_same_bits(lambda: build(kind, torch.optim.AdamW, device()), 3, KINDS[kind][1], FEATURES)
    assert on_device.hashes()[:3] == on_cpu.hashes()[:3]


@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, fused])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "torch.compile"])
def test_a_step_of_one_shard_has_the_bits_of_torch_alone(
    kind: str, optimizer: Callable[[Any], torch.optim.Optimizer]
) -> None:
    loss = KINDS[kind][1]
    x = torch.randn(4, FEATURES, generator=torch.Generator().manual_seed(1))
    if kind == "complex parameters" and optimizer is fused:
        pytest.skip("torch has no fused optimizer for complex parameters")
    training, alone = build(kind, optimizer), build(kind, optimizer)
    for step in range(3):
        alone.optimizer.zero_grad()
        torch.manual_seed(step)
        loss(alone.parameters.model, x).backward()  # type: ignore[no-untyped-call]
        alone.optimizer.step()
        torch.manual_seed(step)
        training.parameters.begin_shard()
        total = training.parameters.gradient_sum(loss(training.parameters.model, x), 4).flat()
        training.apply(total, 4, 0.0)
    models = training.parameters.model, alone.parameters.model
    if kind == "parametrizations":
        # The vectors of spectral_norm are buffers: a step moves them by their mean change, which is rounded.
        torch.testing.assert_close(*(list(model.parameters()) for model in models))
    else:
        # Multiplied by 4 and divided by 4: exact.
        assert tensors_hash(models[0].parameters()) == tensors_hash(models[1].parameters())


def test_a_layer_that_is_trained_from_a_step_on() -> None:
    """All parameters are trainable when the model joins, and the script freezes them in the first steps."""
    training, x = build("bfloat16 parameters", torch.optim.AdamW), torch.randn(4, FEATURES)
    first = training.parameters.model.get_submodule("0")
    start = tensors_hash(first.parameters())
    for step in range(4):
        first.requires_grad_(step >= 2)
        loss = in_bfloat16(training.parameters.model, x)
        training.apply(training.parameters.gradient_sum(loss, 4).flat(), 4, 0.0)
        assert (tensors_hash(first.parameters()) == start) == (step < 2)
