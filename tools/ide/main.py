"""`./bazelw run //tools/ide`: writes what an editor needs to understand the workspace; git ignores all of it.

Writes rust-project.json (rust-analyzer), go.work (gopls) and pyrightconfig.json (pyright, Pylance) at the root, and the
generated bindings below `generated/ide`, where imports find them. Run it again when targets, locks or the schema change.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tools.ide import go_workspace, python_config, rust_project

BINDING_IMPORT_PATH = "pangea.example/pangea/schemas/tensor"
BINDING_REQUIRES = ["capnproto.org/go/capnp/v3"]
BINDING_PACKAGE = "schemas"
_ASPECT = "//tools/ide:crates.bzl%crates_aspect"
_RUST_TARGETS = 'kind("rust_(binary|library|proc_macro|shared_library|test) rule", //...)'
# One package of each folder that holds locked packages.
_LOCKED_PACKAGES = ("capnp", "torch")


class IdeError(Exception):
    """The files cannot be written; the message says why."""


def bazel(workspace: Path, *arguments: str) -> str:
    """Standard output of one Bazel command; its progress goes to the terminal.

    Raises:
        IdeError: it failed.
    """
    foreign = ("PYTHON", "RUNFILES", "BUILD_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    result = subprocess.run(
        ["./bazelw", *arguments], cwd=workspace, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    if result.returncode != 0:
        raise IdeError(f"`./bazelw {arguments[0]}` exited with {result.returncode}; its messages are above")
    return result.stdout


def built_files(events: str) -> Iterator[Path]:
    """The output files that a build reported.

    Args:
        events: content of its --build_event_json_file.
    """
    for line in events.splitlines():
        for file in json.loads(line).get("namedSetOfFiles", {}).get("files", []):
            if file.get("uri", "").startswith("file://"):
                yield Path(file["uri"].removeprefix("file://"))


def crate_descriptions(workspace: Path) -> list[Path]:
    """Builds the descriptions of all crates, and the generated files that they name.

    Raises:
        IdeError: they cannot be built.
    """
    targets = bazel(workspace, "query", _RUST_TARGETS).split()
    folder = workspace / "generated"
    folder.mkdir(exist_ok=True)
    # Not in /tmp: Bazel has one of its own.
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".json") as events:
        groups = "--output_groups=ide_crates,ide_generated"
        bazel(workspace, "build", f"--aspects={_ASPECT}", groups, f"--build_event_json_file={events.name}", *targets)
        built = built_files(Path(events.name).read_text())
        found = [file for file in built if file.name.endswith("_crate_spec.json")]
    if not found:
        raise IdeError(f"the build of {len(targets)} Rust targets reported no description of a crate")
    return sorted(set(found))


def execroot_of(file: Path) -> Path:
    """Bazel's execution root, from the path of an output in it."""
    parts = file.parts
    return Path(*parts[: parts.index("bazel-out")])


def locked_folders() -> list[Path]:
    """Folders of the locked Python packages, in Bazel's output base.

    Raises:
        IdeError: a package cannot be found.
    """
    found = []
    for package in _LOCKED_PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise IdeError(f"the package {package} is not among the locked ones")
        found.append(Path(spec.origin).resolve().parents[1])
    return found


def write_environment(file: Path, go: Path) -> Path:
    """Writes what a shell sources, so that editors that it starts use the locked Go and its modules.

    Args:
        file: where to.
        go: folder of the locked Go.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pangea"
    lines = [
        "# Written by ./bazelw run //tools/ide. Source it, then start the editor from that shell.",
        f"export GOROOT='{go}'",
        f"export GOMODCACHE='{cache / 'dist' / 'go'}'",
        # -modcacherw: whoever deletes the cache must be able to.
        "export GOTOOLCHAIN=local GOFLAGS='-mod=readonly -modcacherw'",
        'export PATH="$GOROOT/bin:$PATH"',
    ]
    file.write_text("\n".join(lines) + "\n")
    return file


def write_all(workspace: Path, arguments: argparse.Namespace) -> list[Path]:
    """Writes all files.

    Returns:
        their places.
    Raises:
        IdeError: Bazel failed, or a package is missing.
        GoModError: go.mod does not fit the binding.
    """
    folder = workspace / "generated" / "ide"
    descriptions = crate_descriptions(workspace)
    real = rust_project.real_path(workspace, execroot_of(descriptions[0]))
    sysroot = arguments.rustfmt.resolve().parents[1] / "usr"
    rust_file = workspace / "rust-project.json"
    rust_file.write_text(json.dumps(rust_project.project(rust_project.read(descriptions), sysroot, real), indent=2))
    go_folder = folder / "go" / "tensor"
    bindings = [file.resolve() for file in arguments.go]
    written = [
        rust_file,
        *go_workspace.write(workspace, go_folder, BINDING_IMPORT_PATH, bindings, BINDING_REQUIRES),
        *python_config.write_binding(folder / "python", BINDING_PACKAGE, arguments.python),
        write_environment(folder / "env.sh", arguments.go_version.resolve().parent),
    ]
    ours = [".", "services/python-ai-client", str((folder / "python").relative_to(workspace))]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    content = python_config.config(version, ours, locked_folders())
    return [*written, python_config.write_config(workspace / "pyrightconfig.json", content)]


def main() -> None:
    """Writes the files into the workspace that this was started in, and names them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--go", type=Path, nargs="+", required=True, help="the Go binding")
    parser.add_argument("--python", type=Path, nargs="+", required=True, help="the Python binding and its stub")
    parser.add_argument("--go-version", type=Path, required=True, help="the file VERSION of the locked Go")
    parser.add_argument("--rustfmt", type=Path, required=True, help="a program of the locked Rust")
    arguments = parser.parse_args()
    workspace = os.environ.get("BUILD_WORKSPACE_DIRECTORY")
    if not workspace:
        sys.exit("ide: start it with ./bazelw run //tools/ide, so that it knows the workspace")
    try:
        places = write_all(Path(workspace), arguments)
    except (IdeError, go_workspace.GoModError) as error:
        sys.exit(f"ide: {error}")
    for place in places:
        print(place.relative_to(workspace))
    print("Go: `. generated/ide/env.sh`, then start the editor; Rust, Python: nothing else to do")


if __name__ == "__main__":
    main()
