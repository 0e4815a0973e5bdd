"""The files that the linters see."""

from pathlib import Path

from tools.lint.files import imports_bindings, source_files, with_interpreter, with_suffix


def test_only_our_sources_are_seen(tmp_path: Path) -> None:
    for name in [
        "a.py",
        "sub/b.py",
        ".ci/run",
        ".git/config",
        "pangea-runs/x/c.py",
        "sub/__pycache__/d.py",
        "bazel-out/e.py",
    ]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("#!/usr/bin/env python3\n")
    (tmp_path / "link.py").symlink_to(tmp_path / "a.py")
    files = source_files(tmp_path)
    assert [str(file) for file in files] == [".ci/run", "a.py", "sub/b.py"]
    assert with_suffix(files, ".py") == ["a.py", "sub/b.py"]
    assert with_interpreter(tmp_path, files, "python3") == [".ci/run"]
    assert with_interpreter(tmp_path, files, "bash") == []


def test_a_file_that_imports_generated_bindings_is_known(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import os\nfrom schemas import tensor_capnp\n")
    (tmp_path / "c.py").write_text("from schemas import tensor_capnp, tensor_constants\n")
    (tmp_path / "b.py").write_text("import capnp as _capnp\n# from schemas import tensor_capnp\n")
    assert imports_bindings(tmp_path / "a.py")
    assert imports_bindings(tmp_path / "c.py")
    assert not imports_bindings(tmp_path / "b.py")
