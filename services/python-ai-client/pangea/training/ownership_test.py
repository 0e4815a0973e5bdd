"""A gradient is taken over without a copy if nobody else can use its memory, and is copied otherwise."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.utils import dlpack

from pangea.training import ownership
from pangea.training.ownership import take_gradients

HELD: list[object] = []


@pytest.fixture
def parameters() -> dict[str, torch.nn.Parameter]:
    """Parameters with gradients that autograd has just made."""
    HELD.clear()
    found = {name: torch.nn.Parameter(torch.randn(4, 5)) for name in ("first", "second", "unused", "third")}
    loss = sum((found[name] ** 2).sum() for name in ("first", "second", "third"))
    torch.as_tensor(loss).backward()  # type: ignore[no-untyped-call]
    return found


def gradient(parameter: torch.nn.Parameter) -> torch.Tensor:
    assert parameter.grad is not None
    return parameter.grad


def addresses(parameters: dict[str, torch.nn.Parameter]) -> list[int]:
    return [0 if parameter.grad is None else parameter.grad.data_ptr() for parameter in parameters.values()]


def test_what_autograd_made_is_taken_over(parameters: dict[str, torch.nn.Parameter]) -> None:
    before = addresses(parameters)
    taken = take_gradients(parameters)
    assert [0 if tensor is None else tensor.data_ptr() for tensor in taken] == before
    assert taken[2] is None
    assert addresses(parameters) == [0, 0, 0, 0]


@pytest.mark.parametrize(
    "hold",
    [
        lambda parameter: gradient(parameter),
        lambda parameter: gradient(parameter).detach(),
        lambda parameter: gradient(parameter)[1:2],
        lambda parameter: gradient(parameter).numpy(),
        lambda parameter: gradient(parameter).view(-1).numpy(),
        lambda parameter: gradient(parameter).untyped_storage(),
        lambda parameter: memoryview(gradient(parameter).numpy()),
        lambda parameter: dlpack.to_dlpack(gradient(parameter)),  # type: ignore[attr-defined]
        lambda parameter: torch.nn.Parameter(gradient(parameter)),
    ],
    ids=["itself", "alias", "slice", "array", "array-of-a-view", "storage", "memoryview", "dlpack", "data"],
)
def test_what_the_script_holds_is_copied(
    hold: Callable[[torch.nn.Parameter], object], parameters: dict[str, torch.nn.Parameter]
) -> None:
    before, values = addresses(parameters), gradient(parameters["second"]).clone()
    HELD.append(hold(parameters["second"]))
    first, second, _, third = take_gradients(parameters)
    assert first is not None and second is not None and third is not None
    assert [first.data_ptr(), third.data_ptr()] == [before[0], before[3]]
    assert second.data_ptr() != before[1]
    assert torch.equal(second.view(4, 5), values)


@pytest.mark.parametrize(
    "replacement",
    [
        lambda: torch.from_numpy(np.ones((4, 5), np.float32)),
        lambda: torch.frombuffer(bytearray(80), dtype=torch.float32).view(4, 5),
        lambda: torch.as_tensor(torch.ones(4, 5).share_memory_()),  # type: ignore[no-untyped-call]
        lambda: torch.ones(5, 4).t(),
        lambda: torch.ones(1, 5).expand(4, 5),
        lambda: torch.imag(torch.conj(torch.ones(4, 5, dtype=torch.complex64))),
        lambda: torch._efficientzerotensor((4, 5)),
    ],
    ids=["numpy", "buffer", "shared-memory", "transposed", "expanded", "negative", "zeros"],
)
def test_a_gradient_that_is_not_plain_memory_of_torch_is_copied(
    replacement: Callable[[], torch.Tensor], parameters: dict[str, torch.nn.Parameter]
) -> None:
    parameters["first"].grad = replacement()
    before, values = addresses(parameters), gradient(parameters["first"]).clone()
    first, second, _, _ = take_gradients(parameters)
    assert first is not None and second is not None
    assert first.data_ptr() != before[0] and first.is_contiguous() and torch.equal(first.view(4, 5), values)
    assert second.data_ptr() == before[1]


def test_one_tensor_of_two_parameters_is_copied_for_each(parameters: dict[str, torch.nn.Parameter]) -> None:
    parameters["first"].grad = parameters["second"].grad
    before = addresses(parameters)
    first, second, _, _ = take_gradients(parameters)
    assert first is not None and second is not None
    assert len({first.data_ptr(), second.data_ptr(), before[0]}) == 3


def test_where_references_cannot_be_counted_every_gradient_is_copied(
    parameters: dict[str, torch.nn.Parameter], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ownership, "_count_at", lambda _storage: 2)
    ownership.storage_count.cache_clear()
    before = addresses(parameters)
    taken = take_gradients(parameters)
    assert all(tensor is None or tensor.data_ptr() not in before for tensor in taken)
    take_gradients(parameters)
    assert [record.message for record in caplog.records if "does not keep the number of references" in record.message]
    assert len(caplog.records) == 1
    monkeypatch.undo()
    ownership.storage_count.cache_clear()
