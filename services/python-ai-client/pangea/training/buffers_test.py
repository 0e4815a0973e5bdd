"""Buffers that a forward pass changes take part in a step, for every dtype and every way of writing them."""

import random
from typing import Any

import pytest
import torch
from torch import nn

from pangea.errors import BrokenPromise
from pangea.training.buffers import Buffers
from pangea.training.gradients import Parameters
from pangea.training.hashing import tensors_hash
from pangea.training.optimizer import Training
from pangea.training.simulated import Group
from pangea.training.tensors import UnsupportedModel


def normalised() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4))


def trained(model: nn.Module) -> Training:
    return Training(Parameters(model), torch.optim.SGD(model.parameters(), lr=0.0))


def test_batchnorm_changes_by_the_mean_over_the_shards_and_counts_steps() -> None:
    model = normalised()
    group = Group([trained(model)], 6, shards=4, batch_size=16)
    for step in (0, 1):
        start = [buffer.clone() for buffer in model[1].buffers()]
        parts = group.samples(step)
        changes = [torch.zeros(4), torch.zeros(4)]
        for x in parts:
            alone = normalised()
            alone[1].load_state_dict(model[1].state_dict())
            alone(x)
            for change, after, before in zip(changes, alone[1].buffers(), start, strict=False):
                change += (after - before) * len(x) / 16
        group.step(step, random.Random(step))
        torch.testing.assert_close(model[1].running_mean, start[0] + changes[0])
        torch.testing.assert_close(model[1].running_var, start[1] + changes[1])
        assert model[1].num_batches_tracked == step + 1


def test_forward_passes_between_two_steps_have_no_lasting_effect() -> None:
    model = normalised()
    parameters = Parameters(model)
    before = parameters.hash()
    for scale in (1.0, 100.0):
        parameters.begin_shard()
        parameters.gradient_sum(model(scale * torch.randn(8, 6)).square().mean(), 8)
        assert parameters.hash() == before
    model(torch.randn(8, 6))  # a forward pass by the script itself
    assert parameters.hash() != before
    parameters.begin_shard()
    assert parameters.hash() == before


class Kinds(nn.Module):
    """A buffer of each kind, changed in different ways."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        for name, value in {
            "wide": torch.tensor([0.1, -0.0], dtype=torch.float64),
            "short": torch.tensor([0.5, 2.0], dtype=torch.bfloat16),
            "count": torch.tensor(250, dtype=torch.uint8),
            "big": torch.tensor([1 << 40]),
            "mask": torch.tensor([float("-inf"), float("nan"), -0.0]),
            "none": torch.zeros(0),
        }.items():
            self.register_buffer(name, value)
        self.shared = nn.BatchNorm1d(2)
        self.again = self.shared

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        held: Any = self
        with torch.no_grad():
            held.wide[0] += x.sum().double()
            held.short = held.short + 0.25  # replaced, not written to
            held.count -= 3
            held.big += 1
        return torch.as_tensor(self.again(self.shared(x * self.weight)))


def test_buffers_of_every_dtype_change_and_constant_ones_keep_their_bits() -> None:
    model = Kinds()
    training = trained(model)
    held: Any = model
    mask, short = tensors_hash([held.mask]), held.short
    flat = torch.empty(training.parameters.elements)
    for x in (torch.ones(3, 2), 2 * torch.ones(3, 2)):
        training.parameters.begin_shard()
        flat = training.parameters.gradient_sum(model(x).sum() * 0, 3).flat()
        held.mask[1] = 0.0  # undone below, because NaN is not equal to itself
        training.parameters.buffers.reset()
    flat[flat.isnan()] = 0.0
    training.apply(flat, 3, 0.0)
    torch.testing.assert_close(held.wide, torch.tensor([12.1, 0.0], dtype=torch.float64))
    assert torch.signbit(held.wide[1])
    assert held.short is short, "an optimizer or a hook may hold a reference to the buffer"
    assert held.short.tolist() == [0.75, 2.25]
    assert (held.count.item(), held.big.item()) == (247, (1 << 40) + 1)
    assert tensors_hash([held.mask]) == mask
    assert held.shared.num_batches_tracked == 2, "two passes through one module"


def test_a_constant_with_infinities_contributes_zeros() -> None:
    model = nn.Linear(2, 2)
    model.register_buffer("mask", torch.tensor([float("-inf"), float("inf")]))
    buffers = Buffers(model)
    flat = torch.empty(2)
    buffers.write_change(5, flat)
    assert flat.tolist() == [0.0, 0.0]


def test_a_buffer_that_changes_its_shape_is_named() -> None:
    model = normalised()
    buffers = Buffers(model)
    model[1].running_mean = torch.zeros(7)
    with pytest.raises(
        UnsupportedModel, match=r"1\.running_mean was torch.float32 \(4,\) and became torch.float32 \(7,\)"
    ):
        buffers.write_change(1, torch.empty(buffers.elements))


def test_a_shared_buffer_that_is_replaced_in_one_place_is_named() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2))
    model[1].running_mean = model[0].running_mean
    buffers = Buffers(model)
    assert buffers.elements == 3 * 2 + 2, "it is counted once"
    model[1].running_mean = torch.ones(2)
    with pytest.raises(UnsupportedModel, match=r"1\.running_mean is shared by several modules"):
        buffers.write_change(1, torch.empty(buffers.elements))


def test_a_complex_buffer_is_refused_by_name() -> None:
    model = nn.Linear(2, 2)
    model.register_buffer("phases", torch.zeros(2, dtype=torch.complex64))
    with pytest.raises(UnsupportedModel, match="phases is torch.complex64"):
        Buffers(model)


class Counting(nn.Module):
    """Counts and sums samples in saved buffers, and keeps a growing table in a buffer that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(6))
        self.register_buffer("seen", torch.tensor(0))
        self.register_buffer("total", torch.zeros(6, dtype=torch.float64))
        self.register_buffer("table", torch.empty(0), persistent=False)
        self.grown = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        held: Any = self
        if held.table.numel() < len(x):
            held.table = torch.ones(len(x))
            self.grown += 1
        with torch.no_grad():
            held.seen += len(x)
            held.total += x.double().sum(0)
        table: torch.Tensor = held.table
        return x * self.weight * table[: len(x), None]


SUMS = {"seen": "sum", "total": "sum"}


def test_counts_and_sums_change_by_the_sum_over_the_shards() -> None:
    group = Group(
        [
            Training(Parameters(model := Counting(), SUMS), torch.optim.SGD(model.parameters(), lr=0.0))
            for _ in range(2)
        ],
        6,
    )
    everything = torch.zeros(6, dtype=torch.float64)
    samples = 0
    for step in range(4):
        for x in group.samples(step):
            everything += x.double().sum(0)
            samples += len(x)
        group.step(step, random.Random(step))
    for worker in group.workers:
        held: Any = worker.parameters.model
        assert held.seen.item() == samples
        torch.testing.assert_close(held.total, everything, rtol=1e-5, atol=1e-4)
    assert len(set(group.hashes())) == 1


def test_averaged_buffers_are_listed_except_those_of_norms() -> None:
    assert Parameters(nn.Sequential(nn.BatchNorm1d(2), Counting())).buffers.averaged == ["1.seen", "1.total"]
    assert Parameters(Counting(), SUMS).buffers.averaged == []


@pytest.mark.parametrize("modes", [{"missing": "sum"}, {"seen": "median"}, {"table": "sum"}])
def test_an_invalid_mode_is_refused_with_the_known_buffers(modes: dict[str, str]) -> None:
    with pytest.raises(UnsupportedModel, match="the buffers that take part in a step are seen, total"):
        Buffers(Counting(), modes)


def test_a_cache_is_reset_before_each_shard() -> None:
    model = Counting()
    parameters = Parameters(model)
    before = parameters.hash()
    for expected in (1, 2):
        parameters.begin_shard()
        parameters.gradient_sum(model(torch.ones(3, 6)).mean(), 3)
        parameters.begin_shard()
        assert (model.grown, parameters.hash()) == (expected, before)


def test_a_saved_non_numeric_buffer_must_not_change() -> None:
    model = nn.Linear(2, 2)
    model.register_buffer("flag", torch.zeros(2, dtype=torch.bool))
    buffers = Buffers(model)
    buffers.check()
    model.get_buffer("flag").fill_(True)
    with pytest.raises(BrokenPromise, match=r"the buffer flag \(torch.bool\) was changed.*torch.uint8"):
        buffers.check()


def test_a_scripted_module_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedModel, match=r"0 is a torch.jit.ScriptModule"):
        Parameters(nn.Sequential(torch.jit.script(nn.Linear(2, 2))))


def test_what_a_script_does_to_a_buffer_between_batches_is_refused() -> None:
    model = Kinds()
    told: list[str] = []
    training = trained(model)
    held: Any = model
    training.parameters.begin_shard()
    held.mask = held.mask + 1
    with pytest.raises(BrokenPromise, match=r"the buffer mask was changed in the loop, .* run.after_step"):
        training.parameters.begin_shard()
    training.parameters.on_broken_promise = told.append
    training.parameters.begin_shard()
    assert len(told) == 1


def test_a_buffer_that_a_function_of_a_step_replaces_has_its_new_value() -> None:
    model = nn.Sequential(nn.Linear(2, 1), Kinds())
    training = trained(model)
    held: Any = model[1]
    tensor, expected = held.mask, held.mask.clone().nan_to_num(0.5)
    training.after.append(lambda _: setattr(held, "mask", held.mask.nan_to_num(0.5)))
    training.apply(torch.zeros(training.parameters.elements), 3, 0.0)
    training.parameters.begin_shard()
    assert held.mask is tensor and torch.equal(held.mask, expected)
    training.after.append(lambda _: setattr(held, "mask", torch.zeros(7)))
    with pytest.raises(UnsupportedModel, match=r"mask was .* and became .*\(7,\) in run.after_step"):
        training.apply(torch.zeros(training.parameters.elements), 3, 0.0)
