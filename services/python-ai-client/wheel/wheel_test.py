"""The wheel is what its name says: for which machines and interpreters, what it needs, and what is in it."""

from __future__ import annotations

import ast
import base64
import csv
import hashlib
import io
import json
import os
import re
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection
from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.utils import parse_wheel_filename

from pangea.release import RELEASE
from pangea.torch_version import NEWEST, OLDEST

WHEEL = Path(os.environ["WHEEL"])
ARCHIVE = zipfile.ZipFile(WHEEL)
NAMES = ARCHIVE.namelist()
DIST_INFO = f"pangea-{RELEASE}.dist-info"
METADATA = Metadata.from_email(ARCHIVE.read(f"{DIST_INFO}/METADATA"))
PROGRAMS = ["pangea/bin/go-orchestrator", "pangea/bin/rust-compute"]
BINARIES = ["pangea/_native.abi3.so", *PROGRAMS]
# Parts of the C library, which every system of the platform has.
C_LIBRARY = {"ld-linux-x86-64.so.2", "libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0"}
# Module -> distribution, where the names differ.
DISTRIBUTIONS = {"yaml": "pyyaml"}
# Module -> the extra that brings it. Others than these are imported by name where they are needed.
EXTRAS = {"lightning_fabric": "lightning", "transformers": "transformers"}


def test_the_name_and_the_metadata_have_the_same_tag_and_version() -> None:
    name, version, _, tags = parse_wheel_filename(WHEEL.name)
    assert (name, str(version), [str(tag) for tag in tags]) == (
        "pangea",
        RELEASE,
        ["cp311-abi3-manylinux_2_28_x86_64"],
    )
    assert f"\nTag: {next(iter(tags))}\n" in ARCHIVE.read(f"{DIST_INFO}/WHEEL").decode()
    assert (METADATA.name, str(METADATA.version)) == (name, RELEASE)


def test_the_platform_is_one_that_auditwheel_confirms() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "auditwheel", "show", "--json", str(WHEEL)], capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr
    found = json.loads(shown.stdout)
    assert found["overall_tag"] == "manylinux_2_28_x86_64"
    assert found["external_libs"] == {}


def sections(member: str, kind: type) -> list[object]:
    elf = ELFFile(io.BytesIO(ARCHIVE.read(member)))
    return [section for section in elf.iter_sections() if isinstance(section, kind)]


@pytest.mark.parametrize("member", BINARIES)
def test_a_binary_needs_the_c_library_only_and_none_after_2_28(member: str) -> None:
    needed = {
        tag.needed
        for section in sections(member, DynamicSection)
        for tag in section.iter_tags()  # type: ignore[attr-defined]
        if tag.entry.d_tag in ("DT_NEEDED", "DT_RPATH", "DT_RUNPATH")
    }
    assert needed <= C_LIBRARY
    versions = {
        version.name
        for section in sections(member, GNUVerNeedSection)
        for _, auxiliaries in section.iter_versions()  # type: ignore[attr-defined]
        for version in auxiliaries
    }
    for version in versions:
        found = re.fullmatch(r"GLIBC_(\d+)\.(\d+)(\.\d+)?", version)
        assert found is not None, version
        assert (int(found[1]), int(found[2])) <= (2, 28), version


def imported() -> set[str]:
    """The modules that the package's files import by statement."""
    names = set()
    for text in [ARCHIVE.read(name).decode() for name in NAMES if name.endswith(".py")]:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module)
    return names


def test_what_the_package_imports_is_what_the_metadata_requires() -> None:
    names = {name.partition(".")[0] for name in imported()} - sys.stdlib_module_names - {"pangea"}
    required = {requirement.name for requirement in METADATA.requires_dist or [] if requirement.marker is None}
    assert {DISTRIBUTIONS.get(name, name) for name in names - EXTRAS.keys()} == required
    assert METADATA.provides_extra == ["lightning", "ray", "tensorboard", "transformers"]


def test_every_module_of_the_package_that_another_one_imports_is_there() -> None:
    own = {name.replace(".", "/") for name in imported() if name.startswith("pangea.")} - {"pangea/_native"}
    assert not [name for name in own if not {f"{name}.py", f"{name}/__init__.py"} & {*NAMES}]


def test_the_ranges_have_the_versions_of_torch_that_were_tried() -> None:
    (torch,) = [requirement for requirement in METADATA.requires_dist or [] if requirement.name == "torch"]
    assert isinstance(torch, Requirement)
    for version in (OLDEST, NEWEST):
        assert torch.specifier.contains("{}.{}.0".format(*version))
    assert not torch.specifier.contains(f"{OLDEST[0]}.{OLDEST[1] - 1}.0")
    assert str(METADATA.requires_python) == ">=3.11"


def test_the_record_has_the_hash_and_the_size_of_every_member() -> None:
    record = list(csv.reader(io.StringIO(ARCHIVE.read(f"{DIST_INFO}/RECORD").decode())))
    assert [path for path, _, _ in record] == NAMES
    for path, digest, size in record[:-1]:
        content = ARCHIVE.read(path)
        expected = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        assert (digest, int(size)) == (f"sha256={expected}", len(content)), path
    assert record[-1] == [f"{DIST_INFO}/RECORD", "", ""]


def test_members_have_one_time_a_fixed_order_and_modes() -> None:
    assert {entry.date_time for entry in ARCHIVE.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    metadata = [name for name in NAMES if name.startswith(f"{DIST_INFO}/")]
    rest = NAMES[: -len(metadata)]
    assert rest == sorted(rest) and metadata == [*sorted(metadata[:-1]), f"{DIST_INFO}/RECORD"]
    modes = {entry.filename: stat.S_IMODE(entry.external_attr >> 16) for entry in ARCHIVE.infolist()}
    assert modes == {name: 0o755 if name in PROGRAMS else 0o644 for name in NAMES}


def test_the_package_is_complete_and_has_nothing_of_the_workspace() -> None:
    others = [name for name in NAMES if not name.endswith(".py") and not name.startswith(DIST_INFO)]
    assert others == [
        "pangea/_native.abi3.so",
        "pangea/_native.pyi",
        *PROGRAMS,
        "pangea/data/digits.csv.gz",
        "pangea/data/stdlib.txt.gz",
        "pangea/py.typed",
    ]
    assert {"pangea/__main__.py", "pangea/contract.py", "pangea/release.py", "pangea/examples/digits.py"} <= {*NAMES}
    assert not [name for name in NAMES if name.endswith(("_test.py", "fixtures.py", "simulated.py", "bits.py"))]


def test_the_license_and_the_bill_of_materials_are_where_scanners_look() -> None:
    assert METADATA.license_expression == "Apache-2.0" and METADATA.license_files == ["LICENSE"]
    assert "Apache License" in ARCHIVE.read(f"{DIST_INFO}/licenses/LICENSE").decode()
    bill = json.loads(ARCHIVE.read(f"{DIST_INFO}/sboms/pangea_sbom.cdx.json"))
    assert bill["metadata"]["component"]["name"] == "pangea"
    kinds = {re.match(r"pkg:(\w+)/", part["purl"])[1] for part in bill["components"]}  # type: ignore[index]
    assert kinds == {"cargo", "deb", "golang", "pypi"}
    assert {"scikit-learn", "ziglang", "capnp", "std"} <= {part["name"] for part in bill["components"]}
