"""The table of the project becomes metadata that tools read back, and mistakes in it are named."""

from __future__ import annotations

import pytest
from packaging.metadata import Metadata

from tools.wheel.pack.metadata import WrongProject, metadata_files

PROJECT = """
[project]
name = "it"
dynamic = ["version"]
license = "Apache-2.0"
license-files = ["LICENSE"]
requires-python = ">=3.11"
dependencies = ["torch>=2.4,<3"]

[project.optional-dependencies]
ray = ["ray"]

[project.scripts]
it = "it.main:main"
"""
TAG = "cp311-abi3-manylinux_2_28_x86_64"


def test_the_metadata_is_what_the_table_says() -> None:
    files = metadata_files(PROJECT, "1.2.3", TAG, "# It\n", ["LICENSE"])
    metadata = Metadata.from_email(files["METADATA"])
    assert (metadata.name, str(metadata.version), metadata.license_files) == ("it", "1.2.3", ["LICENSE"])
    assert sorted(map(str, metadata.requires_dist or [])) == ['ray; extra == "ray"', "torch<3,>=2.4"]
    assert metadata.description == "# It\n"
    assert files["entry_points.txt"] == b"[console_scripts]\nit = it.main:main\n\n"
    assert f"Tag: {TAG}\n".encode() in files["WHEEL"] and b"Root-Is-Purelib: false\n" in files["WHEEL"]


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ('dynamic = ["version"]', 'version = "7"', "dynamic"),
        ("torch>=2.4,<3", "torch >= new", "torch >= new"),
        ('requires-python = ">=3.11"', 'requires-python = "new"', "requires-python"),
        ('name = "it"', 'name = "not a name"', "not a name"),
    ],
)
def test_a_mistake_in_the_table_is_named(right: str, wrong: str, message: str) -> None:
    with pytest.raises(WrongProject, match=message):
        metadata_files(PROJECT.replace(right, wrong), "1.2.3", TAG, "", [])
