"""A snapshot contains the complete state: training continues from it with the same bits."""

import json
import struct
from collections import Counter
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.optim import lr_scheduler

from pangea.training import snapshot
from pangea.training.hashing import tensors_hash

POSITION = snapshot.Position(step=3, seed=(1 << 63) - 1, shards=8, batch_size=64)


def build(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


def advance(
    model: nn.Module, optimizer: torch.optim.Optimizer, scheduler: lr_scheduler.LRScheduler, steps: range
) -> None:
    for step in steps:
        torch.manual_seed(step)
        optimizer.zero_grad()
        loss = model(torch.randn(16, 4)).square().mean()
        loss.backward()
        optimizer.step()
        if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau):
            scheduler.step(loss.item())
        else:
            scheduler.step()


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=0.1 + 0.2, betas=(0.9, 1 / 3))


def test_training_continues_from_a_snapshot_with_the_same_bits() -> None:
    model = build(1)
    optimizer = adam(model)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=1, factor=1 / 3)
    advance(model, optimizer, scheduler, range(3))
    data = snapshot.encode(model, optimizer, scheduler, POSITION)
    advance(model, optimizer, scheduler, range(3, 8))

    other = build(2)
    other_optimizer = torch.optim.Adam(other.parameters())
    other_scheduler = lr_scheduler.ReduceLROnPlateau(other_optimizer)
    assert snapshot.decode_into(data, other, other_optimizer, other_scheduler) == POSITION
    advance(other, other_optimizer, other_scheduler, range(3, 8))
    assert snapshot.encode(other, other_optimizer, other_scheduler, POSITION) == snapshot.encode(
        model, optimizer, scheduler, POSITION
    )


def test_the_parts_of_a_snapshot_are_views_that_the_library_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    # torch 2.4 cannot fill new memory of small floats, which it does where algorithms are deterministic.
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)
    model = nn.Module()
    for number, dtype in enumerate(snapshot._DTYPES):
        model.register_buffer(f"b{number}", torch.arange(number % 5).to(torch.uint8).to(dtype))
    model.register_buffer("scalar", torch.tensor(3, dtype=torch.int16))
    model.register_buffer("transposed", torch.arange(6.0).reshape(2, 3).T)
    weight = nn.Parameter(torch.arange(4.0))
    model.weight, model.tied = weight, weight
    parts = snapshot.parts(model, torch.optim.SGD([weight], lr=0.1), None, POSITION)
    read = safetensors.torch.load(b"".join(parts))
    for name, tensor in model.state_dict().items():
        kept = read["model." + name]
        assert kept.dtype == tensor.dtype and kept.shape == tensor.shape, name
        assert kept.contiguous().view(-1).view(torch.uint8).equal(tensor.contiguous().view(-1).view(torch.uint8)), name
    assert set(snapshot._DTYPES.values()) <= set(safetensors.torch._TYPES)
    with torch.no_grad():
        weight.fill_(7)
    assert safetensors.torch.load(b"".join(parts))["model.weight"].tolist() == [7] * 4, "it was copied"


def test_elements_that_a_snapshot_cannot_hold_are_refused() -> None:
    model = nn.Module()
    model.register_buffer("z", torch.zeros(2, dtype=torch.complex128))
    with pytest.raises(snapshot.BadSnapshot, match=r"model\.z has elements of the type torch\.complex128"):
        snapshot.encode(model, torch.optim.SGD([torch.zeros(1)], lr=0.1), None, POSITION)


def test_a_snapshot_has_its_position_in_the_run_and_plain_weights() -> None:
    model = build(1)
    model[0].requires_grad_(False)
    data = snapshot.encode(model, adam(model), None, POSITION)
    assert snapshot.position_of(data) == POSITION
    other = build(2)
    other.load_state_dict(snapshot.model_tensors(data))
    assert tensors_hash(other.state_dict().values()) == tensors_hash(model.state_dict().values())


@pytest.mark.parametrize(
    "value",
    [
        0.1 + 0.2,
        -0.0,
        float("inf"),
        float("-inf"),
        float("nan"),
        5e-324,
        1e308,
        1 << 62,
        True,
        None,
        "text",
        (1.5, (2, None)),
        [1, [2.5]],
    ],
)
def test_values_besides_tensors_keep_every_bit(value: Any) -> None:
    model = build(1)
    optimizer, other = (torch.optim.SGD(model.parameters(), lr=0.1) for _ in range(2))
    optimizer.param_groups[0]["extra"] = value
    optimizer.state[model[0].weight] = {
        "nested": {3: value, "milestones": Counter({2: 1})},
        "wide": torch.full((2,), 1 / 3, dtype=torch.float64),
    }
    snapshot.decode_into(snapshot.encode(model, optimizer, None, POSITION), model, other, None)
    state = other.state[model[0].weight]
    for loaded in (other.param_groups[0]["extra"], state["nested"][3]):
        assert repr(loaded) == repr(value)
        assert type(loaded) is type(value)
    assert torch.equal(state["wide"], torch.full((2,), 1 / 3, dtype=torch.float64)), (
        "state in a wider dtype than its parameter must keep it"
    )
    assert state["nested"]["milestones"] == Counter({2: 1})


def test_the_metadata_is_json_that_other_languages_read() -> None:
    model = build(1)
    optimizer = adam(model)
    # The best loss before the first one is infinite.
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer)
    data = snapshot.encode(model, optimizer, scheduler, POSITION)
    header = json.loads(data[8 : 8 + struct.unpack_from("<Q", data)[0]])

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    json.loads(header["__metadata__"]["pangea"], parse_constant=refuse)
    scheduler.best = 0.0
    snapshot.decode_into(data, model, optimizer, scheduler)
    assert scheduler.best == float("inf")


def test_equal_states_give_equal_bytes() -> None:
    model = build(1)
    optimizer = adam(model)
    advance(model, optimizer, lr_scheduler.StepLR(optimizer, 2), range(2))
    assert snapshot.encode(model, optimizer, None, POSITION) == snapshot.encode(model, optimizer, None, POSITION)


class Extra(nn.Linear):
    """A layer with state besides its tensors."""

    def get_extra_state(self) -> Any:
        return {"a": 1}


def test_model_state_that_is_not_a_tensor_is_refused_by_name() -> None:
    model = nn.Sequential(Extra(2, 2))
    with pytest.raises(snapshot.BadSnapshot, match=r"0\._extra_state of the model's state is a dict"):
        snapshot.encode(model, adam(model), None, POSITION)


def test_bytes_that_are_not_a_snapshot_of_this_model_are_refused() -> None:
    model = build(1)
    optimizer = adam(model)
    data = snapshot.encode(model, optimizer, None, POSITION)
    for broken in (b"", data[:100], b"\x80\x04pickle" + data, data[:-1], safetensors.torch.save({"a": torch.ones(1)})):
        with pytest.raises(snapshot.BadSnapshot, match="not a"):
            snapshot.decode_into(broken, build(1), optimizer)
        with pytest.raises(snapshot.BadSnapshot, match="not a"):
            snapshot.model_tensors(broken)
    with pytest.raises(snapshot.BadSnapshot, match="does not fit"):
        snapshot.decode_into(data, nn.Linear(4, 8), optimizer)
    with pytest.raises(snapshot.BadSnapshot, match="has no scheduler, but this worker has one"):
        snapshot.decode_into(data, build(1), optimizer, lr_scheduler.StepLR(optimizer, 1))
