"""Large tensors are copied in parts, and completely."""

import pytest
import torch

from pangea.training.devices.copying import copy_large


@pytest.mark.parametrize(
    "source",
    [torch.arange(5), torch.arange((1 << 20) + 3), torch.arange(2.0 * (1 << 20)).view(2, -1).t(), torch.zeros(0)],
)
def test_a_copy_is_complete(source: torch.Tensor) -> None:
    target = torch.full(source.shape, -1, dtype=source.dtype)
    copy_large(target, source)
    assert torch.equal(target, source)
