"""A script that brings its dataset is recognised by its text, so that no data service is started for it."""

from pathlib import Path

import pytest

from pangea.launch.settings import brings_dataset


@pytest.mark.parametrize(
    ("text", "brings"),
    [
        ("run = pangea.join(model, optimizer, dataset=train)", True),
        ("from pangea import join\nrun = join(model, optimizer, epochs=3, dataset=train)", True),
        # What it holds, only running it says; the data service is started if a worker asks for it.
        ("run = pangea.join(model, optimizer, **options)", True),
        ("run = pangea.join(model, optimizer)", False),
        ("def load(dataset=None): ...\nload(dataset=1)\nrun = pangea.join(model, optimizer)", False),
        ("# pangea.join(model, optimizer, dataset=train)\nrun = pangea.join(model, optimizer)", False),
        ("import pangea.lightning\npangea.lightning.fit(module, loader)", True),
        ("from pangea.transformers import PangeaTrainer", True),
        ("from pangea import lightning", True),
        ("import lightning", False),
        ("', '.join(names)", False),
        ("this is not Python", False),
    ],
)
def test_a_dataset_is_recognised_in_the_call_of_join(text: str, brings: bool, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(text)
    assert brings_dataset(script) is brings


def test_a_script_that_cannot_be_read_brings_none(tmp_path: Path) -> None:
    assert not brings_dataset(tmp_path / "missing.py")
    (tmp_path / "bytes.py").write_bytes(b"\xff\x00")
    assert not brings_dataset(tmp_path / "bytes.py")
