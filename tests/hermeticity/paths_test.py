"""No program that we ship contains a path of the machine that built it.

It has the same bytes wherever it is built, and reveals nothing about that machine.
"""

import os
import re
from pathlib import Path

import pytest

ELF = b"\x7fELF"
# Bazel's own folders, and the home folders that they usually lie in.
PLACES = re.compile(
    rb"(?:/execroot/|/linux-sandbox/|/processwrapper-sandbox/|/_bazel_|/\.cache/|/home/|/root/)[^\0\n ]{0,120}"
)


def places_of_this_build() -> list[bytes]:
    """The output base and the workspace of this test's own build: its inputs are links into both."""
    workspace = Path(__file__).resolve().parents[2]
    output_base = Path(str(Path(__file__).absolute()).split("/execroot/")[0].split("/sandbox/")[0])
    return [os.fsencode(place) for place in (workspace, output_base) if len(place.parts) > 2]


def named_places(data: bytes) -> set[bytes]:
    """The strings in a file that name a folder of the machine that built it."""
    return set(PLACES.findall(data)) | {place for place in places_of_this_build() if place in data}


def programs() -> list[Path]:
    """The programs that the BUILD file names as shipped."""
    return [Path(name) for name in os.environ["PROGRAMS"].split()]


@pytest.mark.parametrize("file", programs(), ids=str)
def test_a_program_contains_no_path_of_the_machine(file: Path) -> None:
    data = file.read_bytes()
    assert data.startswith(ELF)
    assert sorted(named_places(data)) == []


@pytest.mark.parametrize(
    "place",
    [
        b"/x/execroot/_main/a.c",
        b"/x/sandbox/linux-sandbox/7/a.c",
        b"/home/somebody/.cargo/a.rs",
        *places_of_this_build(),
    ],
)
def test_a_path_in_a_program_is_found(place: bytes) -> None:
    assert named_places(programs()[0].read_bytes() + b"\0" + place + b"\0")
