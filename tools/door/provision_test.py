"""A folder of the cache appears whole, once, whoever is started twice or killed half way."""

import os
import threading
from pathlib import Path

import pytest

from tools.door.provision import LEFT_OUT, key, once


def fill(folder: Path) -> None:
    (folder / "file").write_text("whole")


def test_a_folder_is_made_once(tmp_path: Path) -> None:
    once(tmp_path / "root", "making", fill)
    once(tmp_path / "root", "making", lambda _: pytest.fail("made twice"))
    assert (tmp_path / "root" / "file").read_text() == "whole"


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    def break_off(folder: Path) -> None:
        fill(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        once(tmp_path / "root", "making", break_off)
    assert [entry.name for entry in tmp_path.iterdir()] == [".lock"]


def test_what_a_killed_start_left_is_cleared(tmp_path: Path) -> None:
    # Another process's folder: nothing could remove it when that was killed.
    left = tmp_path / ".root.1"
    left.mkdir()
    (left / "half").touch()
    once(tmp_path / "root", "making", fill)
    assert not left.exists()
    assert [entry.name for entry in (tmp_path / "root").iterdir()] == ["file"]


def test_two_starts_at_once_do_the_work_once(tmp_path: Path) -> None:
    inside, go_on, made = threading.Event(), threading.Event(), []

    def slow(folder: Path) -> None:
        made.append(folder)
        inside.set()
        assert go_on.wait(30)
        fill(folder)

    threads = [threading.Thread(target=once, args=(tmp_path / "root", "making", slow)) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert inside.wait(30)
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert len(made) == 1
    assert str(os.getpid()) in made[0].name


def test_the_name_of_a_version_depends_on_every_input() -> None:
    assert key(b"a", b"b") == key(b"a", b"b")
    assert len({key(b"a", b"b"), key(b"ab"), key(b"b", b"a"), key(b"a", b"c")}) == 4


@pytest.mark.parametrize(
    "name", ["gcc-14", "g++", "libc6-dev", "python3.13", "libpython3-stdlib", "perl", "binutils-common"]
)
def test_nothing_that_could_leak_into_an_action_is_unpacked(name: str) -> None:
    assert LEFT_OUT.fullmatch(name)


@pytest.mark.parametrize("name", ["bazel-bootstrap", "openjdk-21-jre-headless", "perl-base", "bubblewrap"])
def test_what_bazel_needs_is(name: str) -> None:
    assert not LEFT_OUT.fullmatch(name)
