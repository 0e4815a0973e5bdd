"""Exported weights load into the model, and only what the ledger recorded is exported."""

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from click.testing import CliRunner
from torch import nn

from pangea.commands.main import main
from pangea.ledger.fixtures import checkpoint, run, sha256, written
from pangea.training import snapshot
from pangea.training.gradients import Parameters
from pangea.worker.results import write_results


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(6, 4)
        self.middle = nn.Linear(4, 4)
        self.head = nn.Linear(4, 6, bias=False)
        self.head.weight = self.embedding.weight


def build(seed: int, norm: bool = False) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)) if norm else Tied()


def a_run(folder: Path, model: nn.Module, step: int, finished: bool) -> bytes:
    """A run directory whose checkpoint after `step` steps is the state of `model`."""
    data = snapshot.encode(
        model, torch.optim.AdamW(model.parameters()), None, snapshot.Position(step, seed=7, shards=4, batch_size=16)
    )
    records: list[dict[str, Any]] = run()
    parameters = Parameters(model)
    records[2]["parameters"] = [
        {"name": name, "dtype": dtype, "shape": list(shape)} for name, dtype, shape in parameters.specs()
    ]
    record = checkpoint(step, data)
    if finished:
        records[15]["params_hash"] = parameters.hash().hex()
    else:
        records = records[:12]
    records[11] = record
    (folder / "ledger.jsonl").write_bytes(written(records))
    (folder / "checkpoints").mkdir(exist_ok=True)
    (folder / record["file"]).write_bytes(data)
    return data


def export(source: Path, target: Path, *options: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["export", str(source), "-o", str(target), *options])
    return result.exit_code, result.output


def loads(target: Path, wanted: nn.Module, other: nn.Module) -> None:
    other.load_state_dict(safetensors.torch.load_file(target), strict=True)
    for name, tensor in wanted.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


@pytest.mark.parametrize("norm", [False, True])
def test_the_weights_of_a_checkpoint_can_be_loaded(tmp_path: Path, norm: bool) -> None:
    model, target = build(1, norm), tmp_path / "weights.safetensors"
    a_run(tmp_path, model, 4, finished=False)
    for source in (tmp_path, tmp_path / "checkpoints" / "step-0000000004.safetensors"):
        code, output = export(source, target)
        assert code == 0 and "as the ledger says" in output, output
        loads(target, model, build(2, norm))
        target.unlink()
    assert export(tmp_path, target, "--step", "4")[0] == 0
    code, output = export(tmp_path, target, "--step", "3")
    assert code == 1 and "no checkpoint of step 3; there are checkpoints of the steps [4]" in output


def test_untrained_weights_are_exported_only_on_request(tmp_path: Path) -> None:
    model, target = build(1), tmp_path / "weights.safetensors"
    a_run(tmp_path, model, 0, finished=False)
    code, output = export(tmp_path, target)
    assert code == 1 and "the weights before the first step" in output and "--step 0" in output and not target.exists()
    code, output = export(tmp_path, target, "--step", "0")
    assert code == 0 and "after 0 steps" in output, output
    loads(target, model, build(2))


def test_the_final_weights_of_a_finished_run_are_exported(tmp_path: Path) -> None:
    model, target = build(1), tmp_path / "weights.safetensors"
    a_run(tmp_path, model, 4, finished=True)
    write_results(tmp_path, Parameters(model), 6, {})
    code, output = export(tmp_path, target)
    assert code == 0 and "final.safetensors" in output and "as the ledger says" in output, output
    loads(target, model, build(2))


def test_a_damaged_file_is_refused_by_name(tmp_path: Path) -> None:
    target = tmp_path / "weights.safetensors"
    data = a_run(tmp_path, build(1), 4, finished=False)
    file = tmp_path / "checkpoints" / "step-0000000004.safetensors"
    for broken in (data[:-1], data[:-1] + bytes([data[-1] ^ 1]), data + b"x"):
        file.write_bytes(broken)
        code, output = export(tmp_path, target)
        assert code == 1 and f"{file} is damaged" in output and not target.exists()


def test_final_weights_that_differ_from_the_ledger_are_refused(tmp_path: Path) -> None:
    a_run(tmp_path, build(1), 4, finished=True)
    write_results(tmp_path, Parameters(build(2)), 6, {})
    code, output = export(tmp_path, tmp_path / "weights.safetensors")
    assert code == 1 and "cannot verify" in output and "final.safetensors" in output


@pytest.mark.parametrize("kind", ["damaged", "link"])
def test_final_weights_that_are_no_file_of_weights_are_refused(kind: str, tmp_path: Path) -> None:
    a_run(tmp_path, build(1), 4, finished=True)
    write_results(tmp_path, Parameters(build(1)), 6, {})
    final = tmp_path / "final.safetensors"
    if kind == "damaged":
        final.write_bytes(b"\xff" * 64)
    else:
        final.rename(tmp_path / "elsewhere")
        final.symlink_to("elsewhere")
    code, output = export(tmp_path, tmp_path / "weights.safetensors")
    assert code == 1 and output.startswith("pangea: ") and "Traceback" not in output, output
    assert not (tmp_path / "weights.safetensors").exists()


def test_a_file_that_the_ledger_does_not_name_is_refused(tmp_path: Path) -> None:
    data = a_run(tmp_path, build(1), 4, finished=False)
    other = tmp_path / "checkpoints" / "other.safetensors"
    other.write_bytes(data)
    code, output = export(other, tmp_path / "weights.safetensors")
    assert code == 1 and "the ledger does not name" in output
    ledger = tmp_path / "ledger.jsonl"
    content = bytearray(ledger.read_bytes())
    content[-50] ^= 1
    ledger.write_bytes(content)
    code, output = export(tmp_path, tmp_path / "weights.safetensors")
    assert code == 1 and "the ledger is damaged" in output and sha256(data) not in output
