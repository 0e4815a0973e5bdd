"""The files that a worker writes into the run directory when the run has ended."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from pangea import _native
from pangea.rundir.atomic_file import write_atomically
from pangea.training.gradients import Parameters


def as_json(value: Any) -> Any:
    """Converts a value to JSON: tensors and arrays to numbers and lists, NaN and infinities to null, others to text."""
    if isinstance(value, torch.Tensor):
        return as_json(value.detach().tolist())
    if isinstance(value, bool) or value is None or isinstance(value, (int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    # A number or an array of numpy.
    return as_json(value.tolist()) if hasattr(value, "tolist") else str(value)


def write_results(
    run_dir: Path,
    parameters: Parameters,
    steps: int,
    results: dict[str, Any],
    *,
    incidents: int = 0,
    stopped: str = "",
    content_hash: _native.ContentHash = "xxh3Tree",
) -> None:
    """Writes `final.safetensors` and then `result.json`.

    Args:
        run_dir: of the run.
        parameters: of the trained model.
        steps: the number of steps applied to them.
        results: the figures that the script reports.
        incidents: the number of incidents in the run's ledger.
        stopped: why the run ended before its last step; empty if it did not.
        content_hash: how the run hashes parameters.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    state = parameters.model.state_dict()
    weights = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()}
    write_atomically(run_dir / "final.safetensors", safetensors.torch.save(weights))
    params_hash = parameters.hash(content_hash).hex()
    facts: dict[str, Any] = {"steps": steps, "params_hash": params_hash, "incidents": incidents}
    if stopped:
        facts["stopped"] = stopped
    write_atomically(
        run_dir / "result.json", (json.dumps({**facts, **as_json(results)}, indent=1, allow_nan=False) + "\n").encode()
    )
