"""A LightningModule as people write it, and the one line that trains it in a run."""

import sys

import numpy
import pytorch_lightning
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import pangea
import pangea.lightning


class LitDigits(pytorch_lightning.LightningModule):  # type: ignore[misc]  # not there when types are checked
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 10)
        )

    def training_step(self, batch: list[torch.Tensor], number: int) -> torch.Tensor:
        x, y = batch
        scores = self.layers(x)
        self.log("train_accuracy", (scores.argmax(1) == y).double().mean(), prog_bar=True)
        return functional.cross_entropy(scores, y)

    def validation_step(self, batch: list[torch.Tensor], number: int) -> None:
        x, y = batch
        scores = self.layers(x)
        figures = {
            "val_loss": functional.cross_entropy(scores, y),
            "val_accuracy": (scores.argmax(1) == y).double().mean(),
        }
        self.log_dict(figures)

    def on_train_epoch_end(self) -> None:
        self.log("epoch_ends", 1.0)

    def configure_optimizers(self) -> dict[str, object]:
        optimizer = torch.optim.AdamW(self.parameters(), lr=3e-3)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 20)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


rows = torch.from_numpy(numpy.loadtxt(sys.argv[1], delimiter=",", dtype=numpy.float32))
x, y = rows[:, :64] / 16, rows[:, 64].long()
pangea.seed_everything()
pangea.lightning.fit(
    LitDigits(),
    DataLoader(TensorDataset(x[:1400], y[:1400]), 64, shuffle=True),
    # 397 samples in batches of different sizes: their mean is by samples.
    DataLoader(TensorDataset(x[1400:], y[1400:]), 150),
    max_epochs=2,
    gradient_clip_val=1.0,
)
