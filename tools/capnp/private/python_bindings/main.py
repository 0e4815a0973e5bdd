"""Writes Python bindings of compiled schemas. Run by `py_capnp_library` and `py_capnp_constants`."""

from __future__ import annotations

import argparse
import pathlib

from tools.capnp.private.python_bindings.constants import constants_text
from tools.capnp.private.python_bindings.module import module_text
from tools.capnp.private.python_bindings.request import Request, read_request
from tools.capnp.private.python_bindings.stub import StubWriter


def module_names(request: Request, package: str) -> dict[int, str]:
    """Python module of every file that the request knows: its own, and those that they import."""
    found: dict[int, str] = {}
    prefix = package.replace("/", ".") + "." if package else ""
    for name, file in request.files.items():
        found[file] = prefix + name.removesuffix(".capnp").replace("/", ".") + "_capnp"
        for written, imported in request.imports[name]:
            place = written.removeprefix("/") if written.startswith("/") else f"{package}/{written}"
            found.setdefault(imported, place.removesuffix(".capnp").replace("/", ".") + "_capnp")
    return found


def main() -> None:
    """Writes the module and the stub of each file, and the modules of constants."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--request", type=pathlib.Path, required=True)
    parser.add_argument("--package", default="")
    parser.add_argument("--import-path", action="append", default=[])
    parser.add_argument("--file", nargs=3, action="append", metavar=("SCHEMA", "MODULE", "STUB"), default=[])
    parser.add_argument("--constants", nargs=2, action="append", metavar=("SCHEMA", "MODULE"), default=[])
    arguments = parser.parse_args()
    request = read_request(arguments.request)
    modules = module_names(request, arguments.package)
    for name, module, stub in arguments.file:
        pathlib.Path(module).write_text(module_text(request, name, arguments.package, arguments.import_path))
        pathlib.Path(stub).write_text(StubWriter(request, name, modules).text())
    for name, module in arguments.constants:
        pathlib.Path(module).write_text(constants_text(request, name))


if __name__ == "__main__":
    main()
