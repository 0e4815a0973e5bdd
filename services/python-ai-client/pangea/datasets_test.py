"""Dataset specs, as rust-compute explains them."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pangea.datasets import Dataset, UnknownDataset, of_earlier_release, parse
from pangea.places import MissingFile


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BUILD_WORKING_DIRECTORY", str(tmp_path))
    (tmp_path / "a.csv").write_text("1,2,0\n")
    (tmp_path / "-d.csv").write_text("1,2,0\n")
    (tmp_path / "b.txt").write_text("text")
    (tmp_path / "odd,name=1,2").write_text("text")
    return tmp_path


def test_a_shipped_dataset_has_a_name_and_no_file() -> None:
    for name in ("digits", "stdlib"):
        assert parse(name) == Dataset(name, None)
        with pytest.raises(ValueError, match=name):
            parse(name).at(Path("/data/copy"))


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("csv:a.csv,shape=2", "csv:{}/a.csv,shape=2,label=last,normalise=columns,held_out=0.2"),
        ("csv:./-d.csv,shape=1x2,label=first", "csv:{}/-d.csv,shape=1x2,label=first,normalise=columns,held_out=0.2"),
        (
            "csv:a.csv,separator=tab,header=no,shape=2",
            "csv:{}/a.csv,shape=2,label=last,normalise=columns,header=no,separator=tab,held_out=0.2",
        ),
        ("text:b.txt,held_out=0.25", "text:{}/b.txt,context=64,held_out=0.25"),
        ("text:odd,name=1,2,context=3", "text:{}/odd,name=1,2,context=3,held_out=0.1"),
    ],
)
def test_a_users_file_is_relative_to_the_callers_folder(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    spec: str,
) -> None:
    dataset = parse(text)
    assert dataset.spec == spec.format(folder)
    monkeypatch.setenv("BUILD_WORKING_DIRECTORY", str(folder.parent))
    assert parse(dataset.spec) == dataset, "it names the same dataset in any folder"


def test_a_copy_of_a_file_has_the_same_options(folder: Path) -> None:
    assert parse("text:odd,name=1,2,context=3").at(Path("/data/copy")) == "text:/data/copy,context=3,held_out=0.1"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "there is no such dataset"),
        ("a.csv", "there is no such dataset"),
        ("csv:a.csv", "shape is missing"),
        ("csv:a.csv,shape=2,label=middle", 'label is "middle"; it must be first or last'),
        ("text:nothing.txt", "there is no file"),
        ("text:b.txt,label=first", "text has no option label, only context, held_out"),
    ],
)
def test_a_text_that_is_not_a_spec_is_refused_in_one_sentence(folder: Path, text: str, reason: str) -> None:
    with pytest.raises(UnknownDataset, match=re.escape(reason)) as caught:
        parse(text)
    assert "\n" not in str(caught.value) and "; a dataset is " in str(caught.value)


def test_without_the_program_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANGEA_BIN_DIR", str(tmp_path))
    with pytest.raises(MissingFile, match="rust-compute is missing"):
        parse("digits")


@pytest.mark.parametrize(
    ("saved", "meant"),
    [
        ("digits", "digits"),
        ("text:/b.txt,context=7,held_out=0.1", "text:/b.txt,context=7,held_out=0.1"),
        ("csv:/a.csv,shape=2,label=last,held_out=0.2", "csv:/a.csv,shape=2,label=last,normalise=all,held_out=0.2"),
        (
            "csv:/a.csv,shape=2,label=last,normalise=columns,held_out=0.2",
            "csv:/a.csv,shape=2,label=last,normalise=columns,held_out=0.2",
        ),
        (
            "csv:/a,normalise=x/a.csv,shape=2,label=last,held_out=0.2",
            "csv:/a,normalise=x/a.csv,shape=2,label=last,normalise=all,held_out=0.2",
        ),
    ],
)
def test_a_run_of_an_earlier_release_keeps_its_arithmetic(saved: str, meant: str) -> None:
    assert of_earlier_release(saved) == meant


# No command line can hold a zero byte. Each example starts a process, which may take any time.
@settings(deadline=None, max_examples=50)
@given(
    st.sampled_from(["", "csv:", "text:"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\0")),
)
def test_any_other_text_is_refused(kind: str, text: str) -> None:
    with pytest.raises(UnknownDataset, match="; a dataset is "):
        parse(f"{kind}no such file {text}")
