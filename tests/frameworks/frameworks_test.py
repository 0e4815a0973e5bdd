"""Models of other frameworks train in a run to the same bytes with one worker and with two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pangea.errors import MisusedRun
from pangea.places import data_file
from tests.harness.command import pangea
from tests.harness.run_files import RunFiles

SCRIPTS = Path(__file__).with_name("scripts")


def train(folder: Path, script: str, workers: int, batch_size: int) -> RunFiles:
    ended = pangea(
        folder,
        *("train", str(SCRIPTS / script), "--workers", str(workers), "--epochs", "2", "--batch-size", str(batch_size)),
        *("--run-dir", f"run-{workers}", "--", str(data_file("digits.csv.gz"))),
    )
    assert ended.returncode == 0, ended.stderr
    return RunFiles(folder / f"run-{workers}")


def logged(run: RunFiles) -> list[dict[str, float]]:
    """The figures of each step, without those that are times."""
    return [
        {
            name: value
            for name, value in line.get("figures", {}).items()
            if "runtime" not in name and "_per_" not in name
        }
        for line in run.metrics()
    ]


def test_a_lightning_module(tmp_path: Path) -> None:
    one, two = (train(tmp_path, "lit_digits.py", workers, 64) for workers in (1, 2))
    assert two.final() == one.final() and two.hashes() == one.hashes()
    assert two.read("result.json") == one.read("result.json")
    assert logged(two) == logged(one)
    steps = logged(one)
    assert len(steps) == 44
    assert all("train_accuracy" in figures for figures in steps)
    # Validation is of the parameters after the first epoch, so it belongs to the first step of the second one.
    assert [number for number, figures in enumerate(steps) if "val_accuracy" in figures] == [22]
    assert [number for number, figures in enumerate(steps) if "epoch_ends" in figures] == [22]
    assert 0 < steps[22]["val_accuracy"] < one.read("result.json")["val_accuracy"] + 0.1
    one.audit()
    two.audit()


def test_what_a_lightning_module_has_besides_its_steps(tmp_path: Path) -> None:
    one, two = (train(tmp_path, "lit_hooks.py", workers, 64) for workers in (1, 2))
    assert two.final() == one.final() and two.hashes() == one.hashes()
    result = one.read("result.json")
    assert two.read("result.json") == result
    assert (result["rate"], result["last_epoch"]) == (0.025, 1)
    steps = logged(one)
    assert logged(two) == steps
    assert [figures["step_seen"] for figures in steps] == list(range(20))
    assert [figures["ramp"] for figures in steps] == [0] * 10 + [0.25] * 10
    # Lightning's figures are float32.
    assert result["best_val_loss"] == pytest.approx(min(result["val_loss"], steps[10]["val_loss"]), rel=1e-6)


def test_a_trainer_of_transformers(tmp_path: Path) -> None:
    one, two = (train(tmp_path, "gpt2.py", workers, 16) for workers in (1, 2))
    assert two.final() == one.final() and two.hashes() == one.hashes()
    learning_rates = [figures.get("learning_rate") for figures in logged(one)]
    assert [number for number, rate in enumerate(learning_rates) if rate is not None] == [4, 9]
    assert [figures.get("learning_rate") for figures in logged(two)] == learning_rates
    assert [number for number, figures in enumerate(logged(one)) if "eval_loss" in figures] == [7]
    assert two.read("result.json")["eval_loss"] == one.read("result.json")["eval_loss"]
    # The weight of a shard is its number of predicted tokens.
    weights = [float(step.divisor) for step in two.records(_step_type())]
    assert any(weight % 16 for weight in weights)
    two.audit()


def _step_type() -> Any:
    from pangea.ledger.records import Step

    return Step


def _loader(**options: Any) -> DataLoader[Any]:
    return DataLoader(TensorDataset(torch.zeros(8, 4), torch.zeros(8)), **{"batch_size": 4, **options})


def _module(configured: Any = None, **attributes: Any) -> Any:
    import pytorch_lightning

    class Module(pytorch_lightning.LightningModule):  # type: ignore[misc]  # not there when types are checked
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 1)

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
            return optimizer if configured is None else configured(optimizer)

    module = Module()
    for name, value in attributes.items():
        setattr(module, name, value)
    return module


@pytest.mark.parametrize(
    ("module", "loader", "message"),
    [
        ({"automatic_optimization": False}, {}, "automatic_optimization = False"),
        ({"configured": lambda one: [one, one]}, {}, "returned 2 optimizers"),
        (
            {"configured": lambda one: ([one], [torch.optim.lr_scheduler.ReduceLROnPlateau(one)])},
            {},
            "a ReduceLROnPlateau, which follows a figure of the validation",
        ),
        ({}, {"sampler": torch.utils.data.WeightedRandomSampler([1.0] * 8, 8)}, "has a WeightedRandomSampler"),
        (
            {},
            {"sampler": torch.utils.data.RandomSampler(range(8), replacement=True)},
            "draws samples with replacement",
        ),
        ({}, {"batch_size": None}, "has no batch_size"),
    ],
)
def test_what_a_run_cannot_do_is_refused_before_it_starts(
    module: dict[str, Any], loader: dict[str, Any], message: str
) -> None:
    from pangea.lightning import fit

    with pytest.raises(MisusedRun, match=message):
        fit(_module(**module), _loader(**loader))


def _with_hook(base: Any, hook: str) -> Any:
    return type("Own", (base,), {hook: lambda *_: None, "__module__": "train"})


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        ("on_train_batch_end", "Own overrides on_train_batch_end, which a Trainer calls for each batch"),
        ("optimizer_step", "Own overrides optimizer_step"),
    ],
)
def test_a_module_with_a_hook_for_each_batch_is_refused_by_name(hook: str, message: str) -> None:
    from pangea.lightning import fit

    module = _module()
    module.__class__ = _with_hook(type(module), hook)
    with pytest.raises(MisusedRun, match=message):
        fit(module, _loader())


def test_callbacks_that_have_no_place_in_a_run_are_refused_by_name() -> None:
    from pytorch_lightning import Callback, callbacks

    from pangea.lightning import fit

    for callback, message in (
        (callbacks.ModelCheckpoint(), "ModelCheckpoint has no place in a run: the run writes checkpoints"),
        (callbacks.EarlyStopping("val_loss"), "EarlyStopping has no place in a run: .* run.stop"),
        (callbacks.LearningRateMonitor(), "call self.log in the training step"),
        (_with_hook(Callback, "on_train_batch_start")(), "the callback Own has on_train_batch_start, which a Trainer"),
    ):
        with pytest.raises(MisusedRun, match=message):
            fit(_module(), _loader(), callbacks=[callback])


@pytest.mark.parametrize(
    ("arguments", "call", "message"),
    [
        ({"max_steps": 3}, {}, "max_steps is set"),
        ({"num_train_epochs": 1.5}, {}, "num_train_epochs is 1.5"),
        ({"eval_strategy": "steps"}, {}, 'eval_strategy is "steps"'),
        ({"save_strategy": "epoch"}, {}, 'save_strategy is not "no"'),
        ({}, {"resume_from_checkpoint": "x"}, "pangea train --resume"),
    ],
)
def test_arguments_of_a_trainer_that_a_run_has_not_are_refused(
    arguments: dict[str, Any], call: dict[str, Any], message: str, tmp_path: Path
) -> None:
    from transformers import TrainingArguments

    from pangea.transformers import PangeaTrainer

    options = {"save_strategy": "no", "report_to": [], "use_cpu": True, **arguments}
    dataset = TensorDataset(torch.zeros(8, 4))
    trainer = PangeaTrainer(
        model=nn.Linear(4, 1),
        args=TrainingArguments(str(tmp_path), **options),
        train_dataset=dataset,
        eval_dataset=dataset,
    )
    with pytest.raises(MisusedRun, match=message):
        trainer.train(**call)
