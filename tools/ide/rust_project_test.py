"""Descriptions of crates become one rust-project.json, whose numbers and paths fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tools.ide.main import built_files, execroot_of
from tools.ide.rust_project import merged, project, real_path

REAL = real_path(Path("/clone"), Path("/base/execroot/_main"))


def crate(name: str, root: str, *deps: str, **more: Any) -> dict[str, Any]:
    """A description as rules_rust writes it."""
    return {
        "crate_id": f"ID-{root}",
        "display_name": name,
        "root_module": root,
        "edition": "2021",
        "crate_type": "rlib",
        "is_workspace_member": True,
        "deps": [f"ID-{dep}" for dep in deps],
        "aliases": {},
        "cfg": ["test"],
        "target": "x86_64",
        "env": {},
        "source": {"include_dirs": [], "exclude_dirs": []},
        **more,
    }


def test_a_path_is_that_of_a_source_or_of_bazel() -> None:
    assert REAL("libraries/a/lib.rs") == "/clone/libraries/a/lib.rs"
    assert REAL("__EXEC_ROOT__/external/crates/a.rs") == "/base/external/crates/a.rs"
    assert REAL("__EXEC_ROOT__/bazel-out/k8-opt/bin/a.rs") == "/base/execroot/_main/bazel-out/k8-opt/bin/a.rs"
    assert REAL("${pwd}/bazel-out/k8-opt/bin/out_dir") == "/base/execroot/_main/bazel-out/k8-opt/bin/out_dir"
    assert REAL("__OUTPUT_BASE__/external/a.rs") == "/base/external/a.rs"


def test_dependencies_are_numbers_with_the_names_that_the_code_uses() -> None:
    user = crate("user", "user/lib.rs", "a/lib.rs", "b/lib.rs", aliases={"ID-b/lib.rs": "other"})
    found = project([user, crate("a", "a/lib.rs"), crate("b", "b/lib.rs")], Path("/rust"), REAL)
    assert found["sysroot"] == "/rust"
    names = [each["display_name"] for each in found["crates"]]
    (written,) = [each for each in found["crates"] if each["display_name"] == "user"]
    assert [(names[dep["crate"]], dep["name"]) for dep in written["deps"]] == [("a", "a"), ("b", "other")]


def test_a_library_and_its_test_are_one_crate_with_the_dependencies_of_both() -> None:
    library = crate("a", "a/lib.rs", "b/lib.rs", env={"X": "1"})
    test = crate("a_test", "a/lib.rs", "c/lib.rs", crate_type="bin", cfg=["test", 'feature="x"'])
    for order in ([library, test], [test, library]):
        (found,) = merged([{**each, "source": dict(each["source"])} for each in order]).values()
        assert found["display_name"] == "a"
        assert found["deps"] == ["ID-b/lib.rs", "ID-c/lib.rs"]
        assert found["cfg"] == ["test", 'feature="x"']
        assert found["env"] == {"X": "1"}


def test_a_procedural_macro_names_its_library() -> None:
    dylib = "__EXEC_ROOT__/bazel-out/bin/libm.so"
    macro = crate("m", "m/lib.rs", crate_type="proc-macro", proc_macro_dylib_path=dylib)
    (found,) = project([macro], Path("/rust"), REAL)["crates"]
    assert found["is_proc_macro"]
    assert found["proc_macro_dylib_path"] == "/base/execroot/_main/bazel-out/bin/libm.so"


def test_outputs_are_read_from_the_events_of_a_build() -> None:
    events = '{"id":{}}\n{"namedSetOfFiles":{"files":[{"uri":"file:///b/execroot/_main/bazel-out/bin/x.json"}]}}\n'
    assert list(built_files(events)) == [Path("/b/execroot/_main/bazel-out/bin/x.json")]
    assert execroot_of(Path("/b/execroot/_main/bazel-out/bin/x.json")) == Path("/b/execroot/_main")
