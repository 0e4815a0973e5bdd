"""Every `./bazelw`, `make` and `./setup.sh` command in a document has a configuration, options and jobs that exist; links_test.py looks at its targets."""

from __future__ import annotations

import re
import shlex

import pytest

from tests.docs import workspace
from tests.docs.documents import commands, documents

_VERBS = {"build", "doctor", "env", "run", "test"}
_DOOR = re.compile(r"\./bazelw ([a-z]+)")
_CONFIG = re.compile(r"--config=([\w-]+)")
_RUN = re.compile(r"\./bazelw run (//[\w/.:-]+) -- ([^#|>&;)`]*)")
_SETUP = re.compile(r"\./setup\.sh ([^#|>&;)`]*)")
_MAKE = re.compile(r"^\s*make ((?:[a-z-]+ ?)+)")


def configurations() -> set[str]:
    """What may stand behind --config=."""
    return set(re.findall(r"^\w+:([\w-]+) ", workspace.read(".bazelrc"), re.MULTILINE))


def jobs() -> set[str]:
    """What may stand behind `make`."""
    return set(re.findall(r"^([a-z-]+):", workspace.read("Makefile"), re.MULTILINE))


def package(label: str) -> str:
    """Where the program of a label is; the menu leads to it."""
    menu = re.search(rf'name = "{label.removeprefix("//:")}",\s+actual = "([^"]+)"', workspace.read("BUILD.bazel"))
    return (menu[1] if menu else label).removeprefix("//").partition(":")[0]


def has(folder: str, option: str) -> bool:
    """Whether a source in a folder declares an option: Python's `"--keep"`, Go's `"run-dir"`, the field `run_dir:` of clap's in Rust."""
    name = option.removeprefix("--")
    declared = {".py": f'"--{name}"', ".go": f'"{name}"', ".rs": rf"\b{name.replace('-', '_')}:"}
    sources = [file for file in workspace.files() if file.startswith(folder + "/")]
    return any(
        re.search(pattern, workspace.read(file))
        for ending, pattern in declared.items()
        for file in sources
        if file.endswith(ending)
    )


def unknown(words: str, folder: str) -> list[str]:
    """Options of a program that the sources in its folder do not have; what stands behind a further `--` is not its own."""
    own = shlex.split(words)
    options = [
        word.partition("=")[0] for word in (own[: own.index("--")] if "--" in own else own) if word.startswith("--")
    ]
    return [option for option in options if not has(folder, option)]


def wrong(line: str) -> list[str]:
    """What a command says that is not there."""
    found = [f"./bazelw {verb}" for verb in _DOOR.findall(line) if verb not in _VERBS]
    found += [f"--config={name}" for name in _CONFIG.findall(line) if name not in configurations()]
    found += [f"{label}: {option}" for label, words in _RUN.findall(line) for option in unknown(words, package(label))]
    found += [f"./setup.sh: {option}" for words in _SETUP.findall(line) for option in unknown(words, "tools/setup")]
    return found + [f"make {job}" for words in _MAKE.findall(line) for job in words.split() if job not in jobs()]


@pytest.mark.parametrize("document", documents())
def test_what_commands_name_exists(document: str) -> None:
    assert [(line, found) for line in commands(document) if (found := wrong(line))] == []


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("./bazelw biuld //x", ["./bazelw biuld"]),
        ("build --config=gone --config=lint", ["--config=gone"]),
        ("./bazelw run //:demo -- --workers 3 --no-such   # --other", ["//:demo: --no-such"]),
        (
            "./bazelw run //services/go-orchestrator -- --run-dir x --no-such=1 -- --own",
            ["//services/go-orchestrator: --no-such"],
        ),
        ("$ ./bazelw run //services/rust-compute -- --dataset d --no-such &", ["//services/rust-compute: --no-such"]),
        ("./setup.sh --keep --no-such", ["./setup.sh: --no-such"]),
        ("make images gone   # and more", ["make gone"]),
    ],
)
def test_what_is_gone_is_noticed(line: str, named: list[str]) -> None:
    assert wrong(line) == named
