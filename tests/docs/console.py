"""Runs the commands of a page as its reader would: one shell for the page, one block after the other.

A ```console block holds commands, each after `$ ` (its further lines after `> `), and below each what it prints; `...` stands for any text, and alone on a line for any lines, also none. A block of another language
with a file's name behind the language (```python train.py) is what the reader writes into that file. All other blocks are only shown.
"""

from __future__ import annotations

import doctest
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

_CHECKER = doctest.OutputChecker()
_OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# With the blanks around it, which are not there where it stands for no line.
_ANY_LINES = re.compile(r"\s*^\.\.\.$\s*", re.MULTILINE)
# Record separator: in front of a command's exit code, behind all that it has printed.
_END = "\x1e"


@dataclass(frozen=True)
class File:
    """What the reader writes into a file. `line` is the page's, from 1."""

    line: int
    name: str
    content: str


@dataclass(frozen=True)
class Command:
    """What the reader types, and what the page says that it prints."""

    line: int
    text: str
    output: str


class PageIsWrong(AssertionError):
    """A command of a page fails or prints something else than the page says."""


def steps(page: str) -> Iterator[File | Command]:
    """What a reader of the page does, in order."""
    for token in MarkdownIt("commonmark").parse(page):
        words = token.info.split()
        if token.type != "fence" or token.map is None or not words:
            continue
        first_line = token.map[0] + 2
        if words[0] == "console":
            yield from _commands(token.content, first_line)
        elif len(words) == 2:
            yield File(first_line, words[1], token.content)


def _commands(block: str, first_line: int) -> Iterator[Command]:
    current: tuple[int, list[str], list[str]] | None = None
    for number, text in enumerate(block.splitlines(), first_line):
        if text.startswith("$ "):
            if current is not None:
                yield _command(*current)
            current = number, [text[2:]], []
        elif current is None:
            raise PageIsWrong(f"line {number}: a console block has to begin with a command after '$ '")
        elif text.startswith("> ") and not current[2]:
            current[1].append(text[2:])
        else:
            current[2].append(text)
    if current is not None:
        yield _command(*current)


def _command(line: int, text: list[str], output: list[str]) -> Command:
    return Command(line, "\n".join(text), "".join(part + "\n" for part in output))


def write_command(file: Path, words: Sequence[str], environment: Mapping[str, str]) -> None:
    """Makes a program of a command line: what it is called with comes behind `words`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    settings = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())
    file.write_text(f'#!/bin/sh\n{settings}exec {shlex.join(words)} "$@"\n')
    file.chmod(0o755)


def write_door(folder: Path, programs: Mapping[str, Path], built: Iterable[str], start: Path) -> None:
    """Puts a `./bazelw` there that can `run TARGET -- ARGUMENTS` for these programs and `build TARGET...` for these and `built`, which are all built already.

    Programs start in the folder `start`: as Bazel starts them, somewhere else than where the user called from.
    """
    cases = "\n".join(
        f"{label}) program={shlex.quote(str(program.absolute()))} ;;" for label, program in programs.items()
    )
    door = folder / "bazelw"
    door.write_text(f"""#!/bin/sh
verb=$1
shift
case "$verb" in
run) ;;
build)
    for target; do
        case "$target" in
        {"|".join([*programs, *built])}) ;;
        *) echo "$target is none of the built targets" >&2; exit 64 ;;
        esac
    done
    exit ;;
*) echo "only run and build, not $verb" >&2; exit 64 ;;
esac
case "$1" in
{cases}
*) echo "$1 is none of the built programs" >&2; exit 64 ;;
esac
shift
[ "$1" = -- ] && shift
export BUILD_WORKING_DIRECTORY="$PWD" BUILD_WORKSPACE_DIRECTORY={shlex.quote(str(folder))}
cd {shlex.quote(str(start))} && exec "$program" "$@"
""")
    door.chmod(0o755)


def follow(page: str, folder: Path, environment: Mapping[str, str]) -> int:
    """Does everything that the page says, in a folder; gives the number of commands.

    Raises:
        PageIsWrong: naming the line, the command, and what it printed.
    """
    count = 0
    shell = subprocess.Popen(
        ["/bin/bash", "--norc"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env=environment,
        start_new_session=True,
    )
    try:
        for step in steps(page):
            if isinstance(step, File):
                (folder / step.name).parent.mkdir(parents=True, exist_ok=True)
                (folder / step.name).write_text(step.content)
            else:
                _run(shell, step)
                count += 1
    finally:
        # With all that it has left in the background, which may hold its output open.
        os.killpg(shell.pid, signal.SIGKILL)
        shell.communicate()
    return count


def _run(shell: subprocess.Popen[str], command: Command) -> None:
    assert shell.stdin is not None and shell.stdout is not None
    shell.stdin.write(f"{{\n{command.text}\n}} < /dev/null\nprintf '{_END}%d\\n' $?\n")
    shell.stdin.flush()
    printed, code = "", ""
    for line in shell.stdout:
        before, end, code = line.partition(_END)
        printed += before
        if end:
            break
    if code.strip() != "0":
        raise PageIsWrong(
            f"line {command.line}: this ends with exit code {code.strip() or 'none: the shell is gone'}:\n{command.text}\nIt prints:\n{printed}"
        )
    if not _CHECKER.check_output(_ANY_LINES.sub("...", command.output), printed, _OPTIONS):
        raise PageIsWrong(
            f"line {command.line}: this prints something else than the page says:\n{command.text}\nThe page says:\n{command.output}It prints:\n{printed}"
        )
