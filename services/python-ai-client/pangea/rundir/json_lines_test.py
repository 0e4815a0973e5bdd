"""Files of JSON lines are read while they grow."""

from pathlib import Path

from pangea.rundir.json_lines import JsonLinesFile


def test_only_complete_lines_are_read(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    metrics = JsonLinesFile(file)
    assert metrics.read_new() == []
    file.write_text('{"step": 0}\n{"st')
    assert metrics.read_new() == [{"step": 0}]
    with file.open("a") as stream:
        stream.write('ep": 1}\n')
    assert metrics.read_new() == [{"step": 1}]
    assert metrics.lines == [{"step": 0}, {"step": 1}]
