"""Settings that make a GPU's results depend only on their inputs, and what else its bits depend on."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import torch

# cuBLAS is deterministic with a workspace of fixed size; it reads this when it is first used.
_WORKSPACE, _WORKSPACE_SIZE = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
_DRIVER = Path("/proc/driver/nvidia/version")


def configure_cuda() -> None:
    """Makes CUDA deterministic; without a GPU, this has no effect.

    TF32 is used only if the script has asked for it (`torch.backends.cuda.matmul.allow_tf32`, or
    `torch.set_float32_matmul_precision("high")`): cuDNN uses it by default, but follows that choice here.
    """
    os.environ.setdefault(_WORKSPACE, _WORKSPACE_SIZE)
    cudnn = torch.backends.cudnn
    cudnn.benchmark, cudnn.deterministic = False, True
    with warnings.catch_warnings():
        # Later releases of torch advise to use `fp32_precision`, which earlier ones do not have.
        warnings.simplefilter("ignore")
        if _allows_tf32("cudnn") != _allows_tf32("matmul"):
            cudnn.allow_tf32 = _allows_tf32("matmul")


def _allows_tf32(library: str) -> bool:
    try:
        return bool(torch.backends.cudnn.allow_tf32 if library == "cudnn" else torch.backends.cuda.matmul.allow_tf32)
    except RuntimeError:
        # The script has set the newer `fp32_precision`, with which torch refuses to read the older name.
        newer = getattr(torch.backends.cudnn, "conv", None) if library == "cudnn" else torch.backends.cuda.matmul
        return getattr(newer, "fp32_precision", "ieee") == "tf32"


def describe_device(device: torch.device) -> str:
    """Returns the name of a GPU, its driver, CUDA, cuDNN, and whether TF32 is used."""
    if device.type != "cuda":
        return str(device.type)
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    properties = torch.cuda.get_device_properties(device)
    return (
        f"{properties.name} compute {properties.major}.{properties.minor} driver {_driver()}"
        f" CUDA {torch.version.cuda or torch.version.hip} cuDNN {cudnn}"
        f" TF32 {'used' if _allows_tf32('matmul') or _allows_tf32('cudnn') else 'off'}"
    )


def _driver() -> str:
    """Returns the version of NVIDIA's kernel module, which has no call in torch; "unknown" if there is none."""
    try:
        words = _DRIVER.read_text().split("Kernel Module", 1)[1].split()
    except (OSError, IndexError):
        return "unknown"
    return next((word for word in words if word[0].isdigit()), "unknown")


def random_states() -> list[torch.Tensor]:
    """Returns the states of the random generators of all GPUs; empty as long as none is used."""
    used = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return torch.cuda.get_rng_state_all() if used else []


def restore_random_states(states: list[torch.Tensor]) -> None:
    """Restores what `random_states` returned."""
    if states:
        torch.cuda.set_rng_state_all(states)
