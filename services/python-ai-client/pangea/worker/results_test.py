"""The weights are written and result.json is valid JSON, whatever a script reports."""

import json
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import nn

from pangea.training.gradients import Parameters
from pangea.worker.results import as_json, write_results


def test_figures_are_converted_to_json() -> None:
    assert as_json(torch.tensor(1.5)) == 1.5
    assert as_json(torch.tensor([1, 2])) == [1, 2]
    assert as_json(np.float32(0.5)) == 0.5
    assert as_json(np.arange(3)) == [0, 1, 2]
    assert as_json({1: (True, None, "text")}) == {"1": [True, None, "text"]}
    assert as_json([float("nan"), float("inf"), torch.tensor(float("nan"))]) == [None, None, None]
    assert as_json(Path("a")) == "a"


def test_weights_and_results_are_complete(tmp_path: Path) -> None:
    model = nn.Linear(2, 2)
    write_results(
        tmp_path / "run",
        Parameters(model),
        7,
        {"acc": float("nan"), "last": torch.tensor(0.25, requires_grad=True)},
        incidents=2,
        stopped="good enough",
    )
    assert torch.equal(safetensors.torch.load_file(tmp_path / "run" / "final.safetensors")["weight"], model.weight)
    result = json.loads((tmp_path / "run" / "result.json").read_text(), parse_constant=lambda text: f"not JSON: {text}")
    assert (result["steps"], result["acc"], result["last"], result["incidents"], result["stopped"]) == (
        7,
        None,
        0.25,
        2,
        "good enough",
    )
