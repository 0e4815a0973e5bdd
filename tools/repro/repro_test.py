"""A byte that differs is found, and its cause is named; identical files are counted; files of this machine are left out."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tools.repro.builds import parse_outputs, second_build
from tools.repro.compare import Compared, Output, compare, explain
from tools.repro.elf import sections
from tools.repro.main import report

PROGRAM = Path(os.environ["PROGRAM"])


def two_builds(tmp_path: Path, first: dict[str, bytes], second: dict[str, bytes]) -> tuple[Path, Path]:
    for name, files in {"first": first, "second": second}.items():
        (tmp_path / name).mkdir()
        for path, data in files.items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_bytes(data)
    return tmp_path / "first", tmp_path / "second"


def test_equal_files_have_no_cause_and_their_digest(tmp_path: Path) -> None:
    first, second = two_builds(tmp_path, {"a": b"x"}, {"a": b"x"})
    [result] = compare([Output("//:a", "a")], first, second)
    assert result.cause == ""
    assert result.first == result.second == "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"


def test_folders_are_compared_file_by_file(tmp_path: Path) -> None:
    first, second = two_builds(
        tmp_path,
        {"d/same": b"x", "d/other": b"1\n", "d/gone": b"x"},
        {"d/same": b"x", "d/other": b"2\n", "d/new": b"x"},
    )
    results = {result.path: result.cause for result in compare([Output("//:d", "d")], first, second)}
    assert results == {
        "d/gone": "missing in the second build",
        "d/new": "missing in the first build",
        "d/other": "line 1: '1\\n' against '2\\n'",
        "d/same": "",
    }


def test_an_output_that_nobody_built_is_an_error(tmp_path: Path) -> None:
    first, second = two_builds(tmp_path, {}, {})
    with pytest.raises(ValueError, match="in neither build"):
        compare([Output("//:a", "a")], first, second)


def test_a_text_with_more_lines_or_another_line_end_differs() -> None:
    assert explain(b"a\n", b"a\nb\n") == "line 2: nothing against 'b\\n'"
    assert explain(b"a\n", b"a\r\n") == "line 1: 'a\\n' against 'a\\r\\n'"


def test_other_files_are_explained_by_position_and_strings() -> None:
    assert (
        explain(b"\0\0/home/me/x\0", b"\0\0/home/you/x\0")
        == "13 bytes against 14, from byte 8 on; first only: '/home/me/x'; second only: '/home/you/x'"
    )
    assert explain(b"\0\0", b"\0\0\0") == "2 bytes against 3, from byte 2 on"


def test_the_section_that_differs_is_named() -> None:
    program = PROGRAM.read_bytes()
    place = program.index(sections(program)[".rodata"][:4096]) + 100
    damaged = program[:place] + bytes([program[place] ^ 1]) + program[place + 1 :]
    assert explain(program, damaged).startswith("sections .rodata")
    assert explain(program, program + b"\0").startswith("sections (none: only headers or padding)")


def test_sections_of_a_real_program_are_read_and_damage_is_refused() -> None:
    program = PROGRAM.read_bytes()
    assert {".text", ".rodata", ".bss"} <= sections(program).keys()
    assert sections(program)[".bss"] == b""
    for damaged in (b"", b"#!/bin/sh", program[:40], program[: len(program) // 2]):
        with pytest.raises(ValueError, match="ELF"):
            sections(damaged)


def test_outputs_are_ours_once_and_without_what_is_of_this_machine() -> None:
    ours, image = "bazel-out/k8-opt/bin/services/a/a", "bazel-out/k8-opt/bin/services/a/a_image"
    lines = [
        f"@//services/a:a\t{ours}",
        f"@@//services/a:b\t{ours}",
        "",
        f"//services/a:a_image\t{image}",
        "@crates//:x\tbazel-out/k8-opt/bin/external/crates/x",
        f"//services/a:a\t{ours}.runfiles_manifest",
    ]
    assert parse_outputs(lines) == [Output("//services/a:a", ours), Output("//services/a:a_image", image)]


def test_the_second_build_is_elsewhere_and_has_the_same_sources(tmp_path: Path) -> None:
    workspace, folder = tmp_path / "workspace", tmp_path / "folder"
    workspace.mkdir()
    folder.mkdir()
    (workspace / ".gitignore").write_text("ignored\n")
    (workspace / "ignored").touch()
    (workspace / "run.sh").touch(mode=0o755)
    subprocess.run(["git", "init", "--quiet", str(workspace)], check=True)
    build = second_build(workspace, folder, tmp_path / "cache")
    assert sorted(file.name for file in build.workspace.iterdir()) == [".gitignore", "run.sh"]
    assert os.access(build.workspace / "run.sh", os.X_OK)
    assert {build.environment[name] != os.environ.get(name) for name in ("HOME", "USER", "TZ", "LANG")} == {True}
    assert "--disk_cache=" in build.options


def test_the_report_has_percentage_causes_images_and_what_was_left_out() -> None:
    results = [
        Compared("//a:a", "a", "1", "2", "line 1"),
        Compared("//a:a_image", "i", "3", "3", ""),
        Compared("//a:b", "b", "4", "4", ""),
    ]
    text = report(results)
    assert "DIFFERS //a:a a\n    line 1" in text
    assert "image //a:a_image: same digests" in text
    assert "left out: " in text
    assert text.endswith("2 of 3 files reproducible (66.7 %)")
