"""What a script can learn about its dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pangea import _native


@dataclass(frozen=True)
class DatasetFacts:
    """The dataset of a run, available as `run.dataset`.

    Attributes:
        name: a display name.
        train_samples, held_out_samples: the number of samples.
        classes: the number of classes; 0 if labels are not classes.
        class_names: the names of class 0, 1, ... in the raw data; empty if labels are numbers.
        columns: the names of a table's feature columns, in order; empty strings if it has no header, no entries if the
            dataset is not a table.
        means, deviations: of each column. A served value is (raw value - mean) / deviation.
        vocabulary: the bytes that tokens 0, 1, ... of a text represent; empty if the dataset is not a text.
        steps_per_epoch: steps of the run in one pass over the training samples.
        steps: of the whole run.
    """

    name: str
    train_samples: int
    held_out_samples: int
    classes: int
    class_names: tuple[str, ...]
    columns: tuple[str, ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    vocabulary: bytes
    steps_per_epoch: int
    steps: int

    @classmethod
    def of(cls, info: _native.DatasetInfo, settings: _native.JoinReply) -> DatasetFacts:
        """Combines the information from the data service and the orchestrator."""
        steps = steps_per_epoch(info.train_samples, settings.batch_size, drop_last=settings.drop_last)
        return cls(
            name=info.name,
            train_samples=info.train_samples,
            held_out_samples=info.held_out_samples,
            classes=info.classes,
            class_names=tuple(info.class_names),
            columns=tuple(name for name, _, _ in info.columns),
            means=tuple(mean for _, mean, _ in info.columns),
            deviations=tuple(deviation for _, _, deviation in info.columns),
            vocabulary=info.vocabulary,
            steps_per_epoch=steps,
            steps=steps * settings.epochs,
        )

    def locate(self, step: int) -> tuple[int, int] | None:
        """Returns the epoch of step `step` of the run and its number in that epoch; None after the last one."""
        return divmod(step, self.steps_per_epoch) if step < self.steps else None


def steps_per_epoch(samples: int, batch_size: int, *, drop_last: bool) -> int:
    """Returns the number of steps in one pass over the training samples."""
    return samples // batch_size if drop_last else -(-samples // batch_size)
