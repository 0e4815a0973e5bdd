"""Workers of a machine share its GPUs by their number."""

from pathlib import Path

import pytest

from pangea.launch.gpus import NoGpus, of_machine, visible


def seen(share: float, workers: int, available: list[str] | None = None) -> list[str]:
    return [visible(share, rank, available)["CUDA_VISIBLE_DEVICES"] for rank in range(workers)]


def test_each_worker_sees_its_own() -> None:
    assert seen(1, 3) == ["0", "1", "2"]
    assert seen(2, 2, ["4", "5", "6", "7"]) == ["4,5", "6,7"]


def test_several_workers_share_one() -> None:
    assert seen(0.5, 4, ["0", "1"]) == ["0", "0", "1", "1"]
    assert seen(0.1, 20)[9:11] == ["0", "1"]


def test_without_a_share_a_worker_sees_all() -> None:
    assert visible(0, 3, []) == {}


@pytest.mark.parametrize(("share", "workers", "available"), [(1, 2, ["0"]), (0.5, 3, ["0"]), (2, 1, ["0"]), (1, 1, [])])
def test_too_few_are_refused(share: float, workers: int, available: list[str]) -> None:
    with pytest.raises(NoGpus, match=r"needs GPU \d of this machine, which has (0|none); start fewer workers"):
        seen(share, workers, available)


def test_those_of_the_machine_are_the_ones_that_the_launcher_sees(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia10", "nvidia2", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert of_machine({}, tmp_path) == ["0", "2", "10"]
    assert of_machine({"CUDA_VISIBLE_DEVICES": "3, GPU-4f"}, tmp_path) == ["3", "GPU-4f"]
    assert of_machine({"CUDA_VISIBLE_DEVICES": ""}, tmp_path) == []
