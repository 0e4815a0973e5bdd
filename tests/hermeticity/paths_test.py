"""No program that we ship names a place of the machine that built it: then it is the same bytes wherever it is built, and tells nobody about that machine."""

import os
import re
from pathlib import Path

import pytest

ELF = b"\x7fELF"
# Bazel's own folders, and the homes that they usually lie in.
PLACES = re.compile(rb"(?:/execroot/|/linux-sandbox/|/processwrapper-sandbox/|/_bazel_|/\.cache/|/home/|/root/)[^\0\n ]{0,120}")


def places_of_this_build() -> list[bytes]:
    """The output base and the workspace that this test itself was built in: its inputs are links to both."""
    workspace = Path(__file__).resolve().parents[2]
    output_base = Path(str(Path(__file__).absolute()).split("/execroot/")[0].split("/sandbox/")[0])
    return [os.fsencode(place) for place in (workspace, output_base) if len(place.parts) > 2]


def named_places(data: bytes) -> set[bytes]:
    """The strings of a file that name a place of a machine that builds."""
    return set(PLACES.findall(data)) | {place for place in places_of_this_build() if place in data}


def programs() -> list[Path]:
    """What the BUILD file names as shipped."""
    return [Path(name) for name in os.environ["PROGRAMS"].split()]


@pytest.mark.parametrize("file", programs(), ids=str)
def test_a_program_names_no_place_of_the_machine(file: Path) -> None:
    data = file.read_bytes()
    assert data.startswith(ELF)
    assert sorted(named_places(data)) == []


@pytest.mark.parametrize("place", [b"/x/execroot/_main/a.c", b"/x/sandbox/linux-sandbox/7/a.c", b"/home/somebody/.cargo/a.rs", *places_of_this_build()])
def test_a_place_in_a_program_is_found(place: bytes) -> None:
    assert named_places(programs()[0].read_bytes() + b"\0" + place + b"\0")
