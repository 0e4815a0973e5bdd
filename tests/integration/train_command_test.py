"""`pangea train` where users call it: in their folder, with their environment and terminal."""

import json
import socket
import tempfile
from pathlib import Path

import pytest

from tests.harness.command import pangea

SCRIPT = """
import json, os, pathlib, torch, pangea
from urllib.request import build_opener, ProxyHandler
classes = int(pathlib.Path("classes.txt").read_text())
pangea.seed_everything()
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, classes))
run = pangea.join(model, torch.optim.SGD(model.parameters(), lr=0.1))
answer, direct = "", build_opener(ProxyHandler({}))
if "PANGEA_HTTP" in os.environ:
    answer = direct.open("http://" + os.environ["PANGEA_HTTP"] + "/healthz", timeout=60).read().decode()
for batch in run.batches():
    run.step(torch.nn.functional.cross_entropy(model(batch.x), batch.y))
pathlib.Path(os.environ["PANGEA_WORKER_NAME"] + ".json").write_text(json.dumps([os.environ.get("PANGEA_HTTP"), answer]))
run.finish()
"""


def write(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "train.py").write_text(SCRIPT)
    (folder / "classes.txt").write_text("10")


def two_free_ports() -> int:
    """The first of two consecutive free ports."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            port = int(first.getsockname()[1])
            try:
                socket.create_server(("127.0.0.1", port + 1)).close()
            except (OSError, OverflowError):
                continue
        return port


def test_a_script_runs_in_the_callers_folder_and_each_worker_has_a_health_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    port = two_free_ports()
    monkeypatch.setenv("PANGEA_HTTP", f"127.0.0.1:{port}")
    # Nothing listens there: no request to this machine may go through the proxy.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    ended = pangea(tmp_path, "train", "train.py", "--epochs", "1", "--run-dir", "run")
    assert ended.returncode == 0, ended.stderr
    for number in (1, 2):
        assert json.loads((tmp_path / f"worker-{number}.json").read_text()) == [
            f"127.0.0.1:{port + number - 1}",
            "ok\n",
        ]


def test_a_terminal_without_unicode_works() -> None:
    # Not in the test's own folder, since Bazel cannot delete a name like this one.
    with tempfile.TemporaryDirectory() as above:
        folder = Path(above) / "Modèle β"
        write(folder)

        def shown(*words: str) -> str:
            ended = pangea(folder, *words, PYTHONIOENCODING="ascii", LANG="C", COLUMNS="500")
            assert ended.returncode == 0, ended.stderr
            return ended.stdout

        assert "Mod\\xe8le \\u03b2" in shown("train", "train.py", "--workers", "1", "--epochs", "1", "--run-dir", "run")
        assert "| state" in shown("status", "run")


def test_pangea_worker_resolves_a_relative_path_in_the_callers_folder(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "import pathlib, sys\nimport beside\nprint(pathlib.Path('here.txt').read_text(), beside.__name__,"
        " sys.argv[1])\n"
    )
    (tmp_path / "beside.py").write_text("")
    (tmp_path / "here.txt").write_text("found")
    ended = pangea(
        tmp_path, "worker", "--orchestrator", "localhost:1", "--data", "localhost:1", "script.py", "--", "an argument"
    )
    assert (ended.returncode, ended.stdout) == (0, "found beside an argument\n"), ended.stderr


def test_a_run_directory_that_cannot_be_made_is_one_line_of_error(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "file").write_text("")
    ended = pangea(tmp_path, "train", "train.py", "--run-dir", "file/run")
    assert ended.returncode == 1
    assert (
        ended.stderr
        == f"pangea: cannot create the run directory {tmp_path}/file/run: Not a directory; free some space, get"
        " permission to write there, or choose another --run-dir\n"
    )
