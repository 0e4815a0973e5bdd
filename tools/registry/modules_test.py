"""Every module that MODULE.bazel asks for comes from somewhere: an override of the door, or this registry in that very version."""

import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from tools.door import root
from tools.door.provision import RULE_SETS, Provision

DEPENDENCY = re.compile(r"^bazel_dep\((.*?)\)", re.MULTILINE | re.DOTALL)


def wanted() -> dict[str, str]:
    """Version of each bazel_dep by name."""
    found = {}
    for arguments in DEPENDENCY.findall(Path(os.environ["MODULE"]).read_text()):
        fields = dict(re.findall(r'(\w+) = "([^"]*)"', arguments))
        found[fields["name"]] = fields["version"]
    return found


def overridden(tmp_path: Path) -> set[str]:
    """Names of the modules that `bazelw` brings itself."""
    apt = SimpleNamespace(folder=tmp_path / "apt")
    provision = SimpleNamespace(
        cache=tmp_path, root=tmp_path / "root-1", modules=tmp_path / "modules-1", dist=tmp_path / "dist", apt=apt
    )
    return set(re.findall(r"--override_module=(\w+)=", root.write_rc(cast(Provision, provision)).read_text()))


def test_every_module_is_overridden_or_in_the_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # This test does not depend on where the machine keeps its certificates.
    monkeypatch.setattr(root, "certificate_bundle", lambda: None)
    registry = {
        line.split(maxsplit=1)[1] for line in Path(__file__).with_name("manifest.sha256").read_text().splitlines()
    }
    modules = wanted()
    assert modules, "MODULE.bazel names no module"
    brought = overridden(tmp_path)
    missing = [
        f"{name} {version}"
        for name, version in modules.items()
        if name not in brought and f"modules/{name}/{version}/MODULE.bazel" not in registry
    ]
    assert not missing, f"neither overridden in tools/door/root.py nor in tools/registry/modules: {', '.join(missing)}"


@pytest.mark.parametrize(("name", "module"), RULE_SETS.items())
def test_rule_sets_of_the_go_proxy_have_the_version_that_is_asked_for(name: str, module: str) -> None:
    # With the Central Registry MODULE.bazel decides, with ./bazelw the door's go.mod: they must not drift apart.
    versions = dict(re.findall(r"^\s+(\S+) v(\S+)$", Path(os.environ["GO_MOD"]).read_text(), re.MULTILINE))
    assert wanted()[name] == versions[module]
