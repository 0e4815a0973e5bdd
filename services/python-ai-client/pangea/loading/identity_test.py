"""What cannot be a dataset is refused with what to do instead, and datasets that differ have different identities."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset

from pangea import _native
from pangea.errors import MisusedRun
from pangea.loading.fixtures import Augmented, made
from pangea.loading.identity import probes


class Stream(IterableDataset[int]):
    def __iter__(self) -> Any:
        return iter(range(3))


X, Y = torch.arange(60.0).reshape(20, 3), torch.arange(20)


def info(dataset: Any, held_out: Any = None) -> _native.DatasetInfo:
    return made(dataset, held_out=held_out).info


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (Stream(), "a Stream, which has no length.*list.dataset. if it fits into memory"),
        (iter([1]), "a list_iterator, which has no length"),
        (3, "a int, which has no length"),
        (DataLoader(TensorDataset(X, Y)), "a DataLoader; give it the loader's dataset and collate_fn"),
        ([], "a list without samples"),
        (range(1 << 33), "8589934592 samples; at most 4294967295"),
    ],
)
def test_what_is_not_a_dataset_is_refused(dataset: Any, message: str) -> None:
    with pytest.raises(MisusedRun, match=message):
        made(dataset)


def test_held_out_samples_are_checked_too() -> None:
    with pytest.raises(MisusedRun, match=r"pangea.join\(held_out=...\) was given a Stream"):
        made([1], held_out=Stream())


def test_the_orchestrator_learns_name_lengths_and_shapes() -> None:
    found = info(TensorDataset(X, Y), Subset(TensorDataset(X, Y), range(4)))
    assert (found.name, found.train_samples, found.held_out_samples) == ("TensorDataset", 20, 4)
    assert (found.features, found.labels) == (("float32", (3,)), ("int64", ()))
    assert info(Subset(TensorDataset(X, Y), [1, 2])).name == "Subset of TensorDataset"
    assert info(Augmented()).features == ("uint8", (0,))


def test_datasets_that_differ_have_different_identities() -> None:
    data, other = TensorDataset(X, Y), TensorDataset(X.clone(), Y)
    other.tensors[0][-1, 0] += 1
    found: Sequence[_native.DatasetInfo] = [
        info(data),
        info(other),
        info(TensorDataset(X[:19], Y[:19])),
        info(data, held_out=data),
        info(data, held_out=other),
        info([data[index] for index in range(20)]),
    ]
    assert len({each.hash for each in found}) == len(found)
    assert info(TensorDataset(X, Y)).hash == info(data).hash


def test_the_identity_is_the_same_with_loader_processes_and_random_augmentation() -> None:
    loaders = [made(Augmented(), processes, held_out=Augmented()) for processes in (0, 2)]
    assert len({loader.info.hash for loader in loaders}) == 1
    for loader in loaders:
        loader.close()


def test_probes_include_the_first_and_the_last_sample() -> None:
    assert probes(0) == []
    assert probes(1) == [0]
    assert probes(3) == [0, 1, 2]
    assert probes(1000) == [0, 142, 285, 428, 570, 713, 856, 999]
