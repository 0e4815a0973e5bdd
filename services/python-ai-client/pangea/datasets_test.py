"""Datasets in words, and as arguments of the data service."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pangea.datasets import DIGITS, POSSIBLE, STDLIB, Csv, Dataset, Text, UnknownDataset, of_earlier_release, parse
from pangea.places import MissingFile


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BUILD_WORKING_DIRECTORY", str(tmp_path))
    (tmp_path / "a.csv").write_text("1,2,0\n")
    (tmp_path / "-d.csv").write_text("1,2,0\n")
    (tmp_path / "b.txt").write_text("text")
    (tmp_path / "odd,name=1,2").write_text("text")
    return tmp_path


def test_what_is_shipped_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANGEA_DATA_DIR", str(tmp_path))
    assert (parse("digits"), parse("stdlib")) == (DIGITS, STDLIB)
    with pytest.raises(MissingFile, match="digits.csv.gz is missing"):
        DIGITS.arguments()
    for name in ("digits.csv.gz", "stdlib.txt.gz"):
        (tmp_path / name).touch()
    digits = f"--dataset-name digits --csv {tmp_path}/digits.csv.gz --label-column last --feature-shape 1,8,8 --normalise all --held-out 0.2"
    assert DIGITS.arguments() == digits.split()
    assert STDLIB.arguments() == f"--dataset-name stdlib --text {tmp_path}/stdlib.txt.gz --context 64 --held-out 0.1".split()
    assert (DIGITS.spec(), STDLIB.spec()) == ("digits", "stdlib")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("csv:a.csv,shape=2", ("a.csv", Csv((2,), "last"), 0.2)),
        ("csv:a.csv,held_out=0,label=first,shape=1x2", ("a.csv", Csv((1, 2), "first"), 0.0)),
        ("csv:a.csv,shape=2,normalise=none,header=yes,separator=semicolon", ("a.csv", Csv((2,), "last", "none", "yes", "semicolon"), 0.2)),
        ("csv:./-d.csv,shape=2", ("-d.csv", Csv((2,)), 0.2)),
        ("csv:-d.csv,shape=2", ("-d.csv", Csv((2,)), 0.2)),
        ("text:b.txt", ("b.txt", Text(64), 0.1)),
        ("text:b.txt,context=7,held_out=0.25", ("b.txt", Text(7), 0.25)),
        ("text:odd,name=1,2,context=3", ("odd,name=1,2", Text(3), 0.1)),
    ],
)
def test_a_file_of_the_user_is_relative_to_the_callers_folder(folder: Path, words: str, expected: tuple[str, Csv | Text, float]) -> None:
    name, form, held_out = expected
    dataset = parse(words)
    assert dataset == Dataset(name, folder / name, form, held_out)
    assert str(folder / name) in dataset.arguments()


def test_a_spec_names_the_same_dataset_in_any_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = [
        parse(words) for words in ("digits", "stdlib", "csv:a.csv,shape=1x2,label=first", "csv:a.csv,shape=2,header=no,separator=tab", "text:b.txt,context=7", "text:odd,name=1,2")
    ]
    monkeypatch.setenv("BUILD_WORKING_DIRECTORY", str(folder.parent))
    assert [parse(dataset.spec()) for dataset in datasets] == datasets


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("", "there is no such dataset"),
        ("digit", "there is no such dataset"),
        ("digits,held_out=0.1", "there is no such dataset"),
        ("a.csv", "there is no such dataset"),
        ("csv", "there is no such dataset"),
        ("csv:", "the path is missing"),
        ("text:,context=3", "the path is missing"),
        ("text:nothing.txt", "there is no file"),
        ("csv:a.csv", "shape is missing"),
        ("csv:a.csv,shape=", "shape has ''"),
        ("csv:a.csv,shape=1x-8", "shape has '-8'"),
        ("csv:a.csv,shape=0", "shape has '0'"),
        ("csv:a.csv,shape=2,label=middle", "label is 'middle'; it must be first or last"),
        ("csv:a.csv,shape=2,normalise=rows", "normalise is 'rows'; it must be columns, all or none"),
        ("csv:a.csv,shape=2,header=2", "header is '2'; it must be yes or no"),
        ("csv:a.csv,shape=2,separator=;", "separator is ';'; it must be comma, semicolon, tab, pipe or space"),
        ("csv:a.csv,shape=2,shape=3", "shape is given twice"),
        ("csv:a.csv,shape=2,context=3", "csv has no option context, only shape, label, normalise, header, separator, held_out"),
        ("text:b.txt,label=first", "text has no option label, only context, held_out"),
        ("text:b.txt,context=0", "context has '0'; it must be a number from 1 to"),
        ("text:b.txt,context=9999999999999", "context has"),
        ("text:b.txt,held_out=1", "held_out is '1'; it must be a number from 0 to below 1"),
        ("text:b.txt,held_out=nan", "held_out is 'nan'"),
        ("text:b.txt,held_out=many", "held_out is 'many'"),
    ],
)
def test_what_names_no_dataset_is_refused_with_what_is_possible(folder: Path, words: str, reason: str) -> None:
    with pytest.raises(UnknownDataset, match=re.escape(reason)) as caught:
        parse(words)
    assert POSSIBLE in str(caught.value)


def test_the_options_of_a_csv_file_reach_the_data_service(folder: Path) -> None:
    said = parse("csv:a.csv,shape=2,header=no,separator=tab,normalise=all").arguments()
    assert " ".join(said).endswith("--normalise all --header no --separator tab --held-out 0.2")
    unsaid = parse("csv:a.csv,shape=2").arguments()
    assert "--normalise columns" in " ".join(unsaid)
    assert not {"--header", "--separator"} & set(unsaid)


@pytest.mark.parametrize(
    ("saved", "meant"),
    [
        ("digits", "digits"),
        ("text:/b.txt,context=7,held_out=0.1", "text:/b.txt,context=7,held_out=0.1"),
        ("csv:/a.csv,shape=2,label=last,held_out=0.2", "csv:/a.csv,shape=2,label=last,normalise=all,held_out=0.2"),
        ("csv:/a.csv,shape=2,label=last,normalise=columns,held_out=0.2", "csv:/a.csv,shape=2,label=last,normalise=columns,held_out=0.2"),
    ],
)
def test_a_run_of_an_earlier_release_keeps_its_arithmetic(saved: str, meant: str) -> None:
    assert of_earlier_release(saved) == meant


# No command line can hold a zero byte.
@given(st.sampled_from(["", "csv:", "text:"]), st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_any_other_words_are_refused(kind: str, words: str) -> None:
    with pytest.raises(UnknownDataset):
        parse(f"{kind}no such file {words}")
