import json
import threading
from pathlib import Path

import pytest

from pangea.rundir.atomic_file import write_atomically
from pangea.rundir.layout import port_file, wanted_file
from pangea.services.announced import NotAnnounced, announced, resolve, want


def write(run_dir: Path, service: str, listen: str) -> None:
    file = port_file(run_dir, service)
    file.parent.mkdir(exist_ok=True)
    write_atomically(file, json.dumps({"listen": listen, "http": "127.0.0.1:9"}).encode())


def test_addresses_stay_and_names_become_addresses(tmp_path: Path) -> None:
    write(tmp_path, "rust-compute", "127.0.0.1:1")
    write(tmp_path, "rust-compute-2", "127.0.0.1:2")
    given = ",".join(["host:7", announced("rust-compute"), announced("rust-compute-2")])
    assert resolve(given, tmp_path) == "host:7,127.0.0.1:1,127.0.0.1:2"
    assert resolve("host:7", None) == "host:7"


def test_a_socket_comes_first(tmp_path: Path) -> None:
    file = port_file(tmp_path, "rust-compute")
    file.parent.mkdir()
    file.write_text(json.dumps({"listen": "127.0.0.1:1", "http": "127.0.0.1:9", "socket": "/run/data.sock"}))
    assert resolve(announced("rust-compute"), tmp_path) == "unix:/run/data.sock|127.0.0.1:1"


def test_a_service_that_is_not_ready_yet_is_waited_for(tmp_path: Path) -> None:
    found: list[str] = []
    waiting = threading.Thread(target=lambda: found.append(resolve(announced("rust-compute"), tmp_path)))
    waiting.start()
    write(tmp_path, "rust-compute", "127.0.0.1:1")
    waiting.join(60.0)
    assert found == ["127.0.0.1:1"]


def test_a_service_that_never_is_ready_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotAnnounced, match="go-orchestrator has not written its addresses to .*go-orchestrator.ports"):
        resolve(announced("go-orchestrator"), tmp_path, patience=0.0)
    with pytest.raises(NotAnnounced, match="set PANGEA_RUN_DIR"):
        resolve(announced("go-orchestrator"), None)


def test_a_service_is_asked_for_only_if_it_is_not_there(tmp_path: Path) -> None:
    write(tmp_path, "rust-compute", "127.0.0.1:1")
    want(f"{announced('rust-compute')},{announced('rust-compute-2')},host:7", tmp_path)
    assert not wanted_file(tmp_path, "rust-compute").exists()
    assert wanted_file(tmp_path, "rust-compute-2").exists()
    want(announced("rust-compute-2"), None)
