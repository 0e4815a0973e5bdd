"""What makes CUDA deterministic is set, and TF32 follows what the script has asked for."""

import os
from collections.abc import Iterator

import pytest
import torch

from pangea.training.devices import settings


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32
    yield
    cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32 = before


@pytest.mark.parametrize("asked", [False, True])
def test_cudnn_uses_tf32_only_if_products_do(asked: bool) -> None:
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = asked
    settings.configure_cuda()
    assert torch.backends.cudnn.allow_tf32 is asked
    assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark


def test_the_workspace_of_cublas_is_fixed_unless_the_user_has_chosen_one(monkeypatch: pytest.MonkeyPatch) -> None:
    settings.configure_cuda()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    settings.configure_cuda()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
