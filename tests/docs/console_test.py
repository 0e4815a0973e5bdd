"""The reader that follows pages notices what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.console import Command, File, PageIsWrong, follow, steps, write_command, write_door

ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


def page(*commands: str) -> str:
    return "# A page\n\n```console\n" + "\n".join(commands) + "\n```\n"


def test_commands_files_and_outputs_are_found() -> None:
    text = "text\n```python a/b.py\nx = 1\n```\n```sh\nrm -rf nothing\n```\n    $ only shown\n\n```console\n$ cat <<EOF\n> two\n> EOF\nt...\n$ true\n```\n"
    assert list(steps(text)) == [
        File(3, "a/b.py", "x = 1\n"),
        Command(11, "cat <<EOF\ntwo\nEOF", "t...\n"),
        Command(15, "true", ""),
    ]


def test_a_right_page_is_followed(tmp_path: Path) -> None:
    right = (
        "```text words.txt\na b c\n```\n"
        + page("$ cat words.txt", "a ... c", "$ X=1; sleep 60 > /dev/null &")
        + page("$ echo $X; kill $!", "1", "$ false || echo no", "no")
    )
    assert follow(right, tmp_path, ENVIRONMENT) == 4


@pytest.mark.parametrize("printed", [r"one\ntwo", r"\none\n\nbetween\ntwo\n", r"before\none\ntwo\nafter"])
def test_dots_alone_stand_for_any_lines_also_none(tmp_path: Path, printed: str) -> None:
    assert follow(page(f"$ printf '{printed}'", "...", "one", "...", "two", "..."), tmp_path, ENVIRONMENT) == 1


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (page("$ echo yes", "no"), "line 4: this prints something else"),
        (page("$ echo unexpected"), "line 4: this prints something else"),
        (page("$ true", "expected"), "line 4: this prints something else"),
        (page("$ echo one; echo two", "...", "two", "...", "one"), "line 4: this prints something else"),
        (page("$ true", "$ false"), "line 5: this ends with exit code 1"),
        (page("$ ls gone", "..."), "No such file"),
        (page("$ exit 3", "..."), "the shell is gone"),
        (page("$ sleep 1000 &", "$ false"), "line 5: this ends with exit code 1"),
        (page("no command"), "has to begin with a command"),
    ],
)
def test_a_wrong_page_is_noticed(tmp_path: Path, wrong: str, why: str) -> None:
    with pytest.raises(PageIsWrong, match=why):
        follow(wrong, tmp_path, ENVIRONMENT)


def test_the_door_knows_what_is_built_and_no_more(tmp_path: Path) -> None:
    program = tmp_path / "program"
    write_command(
        program, ["/bin/sh", "-c", 'echo "$OWN $BUILD_WORKING_DIRECTORY $PWD" "$@"', "sh", "fixed"], {"OWN": "its own"}
    )
    clone = tmp_path / "clone"
    clone.mkdir()
    write_door(clone, {"//:it": program}, ["//a:b"], Path("/usr"))
    right = page(
        "$ ./bazelw run //:it -- 'a b' c",
        f"its own {clone} /usr fixed a b c",
        "$ ./bazelw run //:it",
        f"its own {clone} /usr fixed",
        "$ ./bazelw build //a:b //:it",
    )
    assert follow(right, clone, ENVIRONMENT) == 3
    for wrong in ("run //:gone", "run //a:b", "build //a:b //:gone", "test //:it"):
        with pytest.raises(PageIsWrong, match="none of the built|only run and build"):
            follow(page(f"$ ./bazelw {wrong}", "..."), clone, ENVIRONMENT)
