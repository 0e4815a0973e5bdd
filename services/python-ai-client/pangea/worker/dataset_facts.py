"""What a script can ask of the data that it trains on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pangea import _native


@dataclass(frozen=True)
class DatasetFacts:
    """The data of a run, as `run.dataset`.

    Attributes:
        name: for people.
        train_samples, held_out_samples: how many there are.
        classes: number of labels; 0 where labels are no classes.
        class_names: what stands for class 0, 1, ... in the raw data; empty where labels are numbers.
        columns: names of a table's feature columns, in order; empty texts where it has no header, and no entries for what is no table.
        means, deviations: of each column. A served value is (raw value - mean) / deviation.
        vocabulary: the byte that token 0, 1, ... of a text stands for.
        steps_per_epoch: steps of the run in one pass over the training samples.
        steps: of the whole run, as it was started.
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
        """From what data service and orchestrator have said."""
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


def steps_per_epoch(samples: int, batch_size: int, *, drop_last: bool) -> int:
    """Steps in one pass over the training samples."""
    return samples // batch_size if drop_last else -(-samples // batch_size)
