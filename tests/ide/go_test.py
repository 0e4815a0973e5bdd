"""`go build` finds the generated Go binding in the generated workspace, without a network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tools.ide.go_workspace import GoModError, write
from tools.ide.main import BINDING_IMPORT_PATH, BINDING_REQUIRES

_BINDING = Path(os.environ["BINDING"])
# In the place of the real one, whose imports would have to be fetched.
_STAND_IN = "package tensor\n\nconst ProtocolVersion = uint16(2)\n"
_USER = f"""package user

import "{BINDING_IMPORT_PATH}"

const Version = tensor.ProtocolVersion
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A module with a package that imports the binding, and go.mod without what would have to be fetched."""
    (tmp_path / "go.mod").write_text("module pangea.example/pangea\n\ngo 1.26.0\n")
    package = tmp_path / "services" / "user"
    package.mkdir(parents=True)
    (package / "user.go").write_text(_USER)
    return tmp_path


def go(workspace: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One call of the locked `go`, which may not fetch anything."""
    program = Path(os.environ["GO"]).absolute()
    environment = {
        "GOCACHE": str(workspace / "cache"),
        "GOENV": "off",
        "GOFLAGS": "-mod=readonly",
        "GOPATH": str(workspace / "path"),
        "GOPROXY": "off",
        "GOROOT": str(program.parents[1]),
        "GOTOOLCHAIN": "local",
        "HOME": str(workspace),
        "PATH": "/usr/bin:/bin",
    }
    return subprocess.run(
        [program, *arguments], cwd=workspace, env=environment, capture_output=True, text=True, check=False
    )


def test_the_binding_is_found_by_its_import_path(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    source = tmp_path_factory.mktemp("sources") / "tensor.capnp.go"
    source.write_text(_STAND_IN)
    without = go(workspace, "build", "./services/...")
    assert without.returncode != 0 and BINDING_IMPORT_PATH in without.stderr
    write(workspace, workspace / "generated" / "tensor", BINDING_IMPORT_PATH, [source], [])
    found = go(workspace, "build", "./services/...")
    assert (found.returncode, found.stderr) == (0, "")
    listed = go(workspace, "list", "-f", "{{.Dir}}", BINDING_IMPORT_PATH)
    assert listed.stdout.strip() == str(workspace / "generated" / "tensor")


def test_a_wrong_use_of_the_binding_is_noticed(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    source = tmp_path_factory.mktemp("sources") / "tensor.capnp.go"
    source.write_text(_STAND_IN.replace("ProtocolVersion", "Other"))
    write(workspace, workspace / "generated" / "tensor", BINDING_IMPORT_PATH, [source], [])
    assert "undefined: tensor.ProtocolVersion" in go(workspace, "build", "./services/...").stderr


def test_the_real_binding_imports_nothing_but_what_is_required(tmp_path: Path) -> None:
    shutil.copyfile(os.environ["GO_MOD"], tmp_path / "go.mod")
    written = write(tmp_path, tmp_path / "generated", BINDING_IMPORT_PATH, [_BINDING], BINDING_REQUIRES)
    text = (tmp_path / "generated" / _BINDING.name).read_text()
    assert "\npackage tensor\n" in text
    imports = re.findall(r'^\t\w* ?"([^"]+)"$', text.partition("import (")[2].partition(")")[0], re.MULTILINE)
    foreign = [path for path in imports if "." in path.partition("/")[0]]
    assert foreign
    assert [path for path in foreign if not path.startswith(tuple(BINDING_REQUIRES))] == []
    module = next(file for file in written if file.name == "go.mod").read_text()
    assert all(f"require {path} v" in module for path in BINDING_REQUIRES)


def test_a_module_that_go_mod_does_not_have_is_refused(workspace: Path) -> None:
    with pytest.raises(GoModError, match=r"does not require example\.com/gone"):
        write(workspace, workspace / "generated", BINDING_IMPORT_PATH, [_BINDING], ["example.com/gone"])
