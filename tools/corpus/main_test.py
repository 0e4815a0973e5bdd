"""The text is a function of the files alone."""

import gzip
import sysconfig
from pathlib import Path

import pytest

from tools.corpus.main import corpus, sources


@pytest.fixture
def library(tmp_path: Path) -> Path:
    for name, text in {
        "b/two.py": "2\n",
        "b/inner/one.py": "1\n",
        "a/__init__.py": "0\n",
        "a/data.txt": "not Python\n",
        "c/other.py": "not asked for\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_files_are_ordered_by_path_whatever_the_order_of_the_packages(library: Path) -> None:
    assert gzip.decompress(corpus(library, ["b", "a"])) == b"0\n1\n2\n"
    assert corpus(library, ["b", "a"]) == corpus(library, ["a", "b", "b/inner"])


def test_a_package_without_files_is_named(library: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no package nothing with Python files"):
        sources(library, ["a", "nothing"])


def test_the_interpreters_own_library_is_read() -> None:
    library = Path(sysconfig.get_path("stdlib"))
    packed = corpus(library, ["json"])
    assert (library / "json" / "decoder.py").read_bytes() in gzip.decompress(packed)
    assert packed[4:8] == bytes(4), "a time in the gzip header would change the bytes with every build"
