"""What a finished run leaves beside the orchestrator's files."""

from __future__ import annotations

import json
from pathlib import Path

import safetensors.torch

from pangea.files import write_atomically
from pangea.gradients import Parameters


def write_results(run_dir: Path, parameters: Parameters, steps: int, results: dict[str, float]) -> None:
    """Writes `final.safetensors` and `result.json`."""
    run_dir.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.detach().clone().contiguous() for name, tensor in parameters.model.state_dict().items()}
    write_atomically(run_dir / "final.safetensors", safetensors.torch.save(weights))
    summary = {"steps": steps, "params_hash": parameters.hash().hex(), **results}
    write_atomically(run_dir / "result.json", (json.dumps(summary, indent=1) + "\n").encode())
