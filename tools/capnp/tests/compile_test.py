"""A wrong schema is refused with the compiler's message, file and line, by the command that `capnp_library` runs."""

import os
import subprocess
from pathlib import Path

import pytest


def compile_schema(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "bad.capnp").write_text(text)
    command = [
        os.path.abspath(os.environ["CAPNP"]),
        "compile",
        "--no-standard-import",
        "-o-",
        "--src-prefix=.",
        "--import-path=.",
        "bad.capnp",
    ]
    return subprocess.run(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False
    )


@pytest.mark.parametrize(
    ("body", "line", "reason"),
    [
        ("struct A {\n  x @0 :Nothing;\n}", 3, "Nothing"),
        ("struct A {\n  x @0 :Text;\n  y @0 :Text;\n}", 4, "Duplicate ordinal"),
        ("struct A {\n  x @0 :Text\n}", 4, "Parse error"),
        ('using B = import "/missing.capnp";\nstruct A { b @0 :B.C; }', 2, "Import failed: /missing.capnp"),
    ],
)
def test_a_wrong_schema_is_refused_with_its_line(body: str, line: int, reason: str, tmp_path: Path) -> None:
    result = compile_schema("@0xd2f1a0b3c4e59690;\n" + body, tmp_path)
    assert result.returncode != 0
    assert f"bad.capnp:{line}:" in result.stderr
    assert reason in result.stderr


def test_a_correct_schema_compiles(tmp_path: Path) -> None:
    result = compile_schema("@0xd2f1a0b3c4e59690;\nstruct A {\n  x @0 :Text;\n}\n", tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
