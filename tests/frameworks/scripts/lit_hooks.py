"""A LightningModule that uses what it has besides its steps: epochs, hooks, callbacks, a schedule of epochs."""

import sys
from typing import Any

import numpy
import pytorch_lightning
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import pangea
import pangea.lightning


class LitRamp(pytorch_lightning.LightningModule):  # type: ignore[misc]  # not there when types are checked
    def __init__(self, file: str) -> None:
        super().__init__()
        self.file = file
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    def setup(self, stage: str) -> None:
        rows = torch.from_numpy(numpy.loadtxt(self.file, delimiter=",", dtype=numpy.float32))
        data = TensorDataset(rows[:, :64] / 16, rows[:, 64].long())
        self.train_set, self.val_set = (torch.utils.data.Subset(data, part) for part in (range(640), range(640, 900)))

    def train_dataloader(self) -> Any:
        return DataLoader(self.train_set, 64, shuffle=True)

    def val_dataloader(self) -> Any:
        return DataLoader(self.val_set, 100)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        x, y = batch
        return x + 0.05 * torch.randn(x.shape) * self.training, y

    def training_step(self, batch: Any, number: int) -> torch.Tensor:
        x, y = batch
        scores = self.layers(x)
        self.log_dict({"ramp": self.current_epoch / 4, "step_seen": self.global_step})
        loss: torch.Tensor = functional.cross_entropy(scores, y) + self.current_epoch / 4 * scores.square().mean()
        return loss

    def validation_step(self, batch: Any, number: int) -> None:
        x, y = batch
        self.log("val_loss", functional.cross_entropy(self.layers(x), y))

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        for parameter in self.parameters():
            if parameter.grad is not None:
                parameter.grad.add_(0.001 * torch.randn(parameter.shape))

    def configure_callbacks(self) -> Any:
        return Records()

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)]


class Records(pytorch_lightning.Callback):  # type: ignore[misc]  # not there when types are checked
    """Keeps the best loss of the validation."""

    def __init__(self) -> None:
        self.best = torch.tensor(float("inf"))

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self.best = torch.minimum(self.best, trainer.callback_metrics["val_loss"])

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        pl_module.log_dict({"best_val_loss": self.best, "rate": rate, "last_epoch": trainer.current_epoch})

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]


pangea.seed_everything()
pangea.lightning.fit(LitRamp(sys.argv[1]), max_epochs=2, callbacks=[pytorch_lightning.callbacks.TQDMProgressBar()])
