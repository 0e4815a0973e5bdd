"""The commands and variables of infra/systemd, tried on the real programs at other addresses and in other folders."""

from __future__ import annotations

import datetime as dt
import inspect
import os
import re
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

import pangea
from pangea.commands.main import main
from pangea.identity.store import Store
from pangea.places import data_file, program
from pangea.services.child import Child
from tests.harness.cluster import cluster
from tests.harness.pages import http_get
from tests.harness.processes import wait_exit
from tests.infra.defaults import differing_options
from tests.infra.systemd.units import UNITS, command, environment, read
from tools.processes.waiting import PATIENCE_SECONDS, eventually

ORCHESTRATOR, DATA, WORKER = UNITS
FREE = {"LISTEN": "127.0.0.1:0", "HTTP": "127.0.0.1:0"}


class ServiceManager:
    """What a unit's process tells systemd, whose watchdog is in a hurry here."""

    def __init__(self, listening: socket.socket, path: str) -> None:
        self._listening = listening
        self._listening.settimeout(PATIENCE_SECONDS)
        self._listening.bind(path)
        self.environment = os.environ | {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "200000"}

    def told(self) -> str:
        return self._listening.recv(1000).decode().strip()

    def until_told(self, state: str) -> set[str]:
        """Waits for a word; gives the others that were said before."""
        return set(iter(self.told, state))


@pytest.fixture
def manager() -> Iterator[ServiceManager]:
    # The path of a socket has at most 107 bytes, which tmp_path may exceed.
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        yield ServiceManager(listening, f"{folder}/notify")


def start(name: str, words: list[str], folder: Path, manager: ServiceManager) -> tuple[Child, dict[str, str]]:
    """Starts a service as its unit does; gives it and its addresses."""
    assert words[0] == f"/usr/local/bin/{name}"
    ports = folder / f"{name}.json"
    command_line = [str(program(name)), *words[1:], f"--port-file={ports}"]
    child = Child(name, command_line, folder / f"{name}.log", manager.environment)
    return child, child.wait_ready(ports, PATIENCE_SECONDS)


def stop_as_systemd_does(child: Child, manager: ServiceManager) -> None:
    """Stops a service that was ready and alive to its last word."""
    assert manager.told() == "READY=1"
    for _ in range(3):
        assert manager.told() == "WATCHDOG=1"
    child.signal(signal.SIGTERM)
    assert manager.until_told("STOPPING=1") <= {"WATCHDOG=1"}
    assert wait_exit(child) == 0, child.log_tail()


def test_the_orchestrator_starts_by_its_unit_and_stops_as_systemd_stops_it(
    tmp_path: Path, manager: ServiceManager
) -> None:
    state = tmp_path / read(ORCHESTRATOR)["StateDirectory"][0]
    state.mkdir()
    child, addresses = start(
        "go-orchestrator",
        command(ORCHESTRATOR, environment(ORCHESTRATOR) | FREE, {"S": str(tmp_path)}),
        tmp_path,
        manager,
    )
    assert http_get(addresses["http"], "/readyz")[0] == 200
    stop_as_systemd_does(child, manager)
    # It has written nothing but what the unit allows.
    assert {path.name for path in tmp_path.iterdir()} == {state.name, "go-orchestrator.json", "go-orchestrator.log"}
    assert (state / "run" / "run.json").exists()


def test_the_data_service_starts_by_its_unit_with_the_data_of_its_example(
    tmp_path: Path, manager: ServiceManager
) -> None:
    text = Path("infra/systemd", DATA).read_text()
    example = re.search(r"DATA=(.+)", text)
    assert example is not None
    data = example[1].replace("/srv/pangea/digits.csv.gz", str(data_file("digits.csv.gz")))
    words = command(DATA, environment(DATA) | FREE | {"DATA": data}, {})
    child, addresses = start("rust-compute", words, tmp_path, manager)
    eventually(lambda: http_get(addresses["http"], "/readyz")[0] == 200, "the data service is ready")
    stop_as_systemd_does(child, manager)


@pytest.mark.parametrize("unit", [ORCHESTRATOR, DATA])
def test_a_service_that_hangs_is_restarted(unit: str) -> None:
    values = read(unit)
    assert (values["Type"], values["NotifyAccess"]) == (["notify"], ["main"])
    # The socket of systemd is a Unix socket.
    assert "AF_UNIX" in values["RestrictAddressFamilies"][0].split()
    # Services are unhealthy after 30 s, and looked at four times in this time: what recovers is left alone.
    assert values["WatchdogSec"] == ["2min"]
    # Ready is a service that has read its ledger or its dataset, which takes as long as it takes.
    assert values["TimeoutStartSec"] == ["infinity"]
    # A dump of memory has a key.
    assert values["LimitCORE"] == ["0"]


def test_a_worker_joins_by_its_unit_and_stops_as_systemd_stops_it(tmp_path: Path) -> None:
    with cluster(tmp_path / "cluster", epochs=50) as run:
        words = command(WORKER, {}, {})
        assert words[0] == "/usr/local/bin/pangea"
        # An empty $SCRIPT means the digits example.
        specifiers = {"%H": "host", "%i": "1", "%S": str(tmp_path)}
        given = {
            name: re.sub("%.", lambda found: specifiers[found[0]], value) for name, value in environment(WORKER).items()
        }
        services = {"PANGEA_ORCHESTRATOR": run.orchestrator_address, "PANGEA_DATA": run.data_addresses}
        child = run.start_python("worker", ["-m", "pangea", *words[1:]], {**given, **services})
        eventually(
            lambda: child.exit_code() is not None or '"name":"host-1"' in http_get(run.status_address, "/status")[1],
            "the worker joins",
        )
        assert child.exit_code() is None, child.log_tail(30)
        child.signal(signal.SIGTERM)
        code = wait_exit(child)
        # systemd must not take this for a failure and restart it.
        assert read(WORKER)["SuccessExitStatus"] == [str(code)], child.log_tail(30)


def test_a_worker_that_finds_no_services_retries_for_ever() -> None:
    values = read(WORKER)
    (minutes,), (burst,) = values["StartLimitIntervalSec"], values["StartLimitBurst"]
    patience: float = inspect.signature(pangea.join).parameters["timeout"].default
    # systemd refuses another start only if this number of starts lies within the interval.
    assert patience * int(burst) > 60 * int(minutes.removesuffix("min"))


def test_a_workers_variables_are_options_of_pangea_worker() -> None:
    known = re.findall(r"PANGEA_\w+", CliRunner().invoke(main, ["worker", "--help"]).output)
    assert set(environment(WORKER)) <= set(known)


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_is_restarted_limited_and_confined(unit: str) -> None:
    values = read(unit)
    assert values["Restart"] == ["on-failure"]
    assert {"MemoryMax", "MemoryHigh", "TasksMax", "LimitNOFILE", "TimeoutStopSec"} <= values.keys()
    assert {"LogRateLimitIntervalSec", "LogRateLimitBurst"} <= values.keys()
    assert (values["IPAddressDeny"], values["IPAddressAllow"]) == (["any"], ["localhost"])
    assert values["DynamicUser"] == values["NoNewPrivileges"] == ["yes"]
    assert values["SocketBindDeny"] == ["any"]
    # systemd matches the port that a program names; 8082 is the first one of workers in the documents.
    listens = re.findall(r"(?:LISTEN|HTTP)=127\.0\.0\.1:(\d+)", " ".join(values["Environment"])) or ["8082"]
    assert [f"tcp:{port}" for port in listens] == [port.partition("-")[0] for port in values["SocketBindAllow"]]
    assert values["ProtectSystem"] == ["strict"]


def test_the_memory_of_the_orchestrator_fits_its_unit() -> None:
    words = command(ORCHESTRATOR, environment(ORCHESTRATOR), {"S": "/var/lib"})
    flags = dict(word.removeprefix("--").split("=", 1) for word in words if "=" in word)
    limit = int(read(ORCHESTRATOR)["MemoryMax"][0].removesuffix("G")) << 30
    assert int(flags["max-memory-bytes"]) * 6 // 5 <= limit


@pytest.mark.parametrize("unit", UNITS)
def test_the_identity_of_a_unit_is_what_certs_issue_makes(unit: str, tmp_path: Path) -> None:
    now = dt.datetime.now(dt.UTC)
    role, name = {ORCHESTRATOR: ("orchestrator", "main"), DATA: ("data", "one"), WORKER: ("worker", "host-1")}[unit]
    Store.new(tmp_path / "authority", "run", 30, now).issue(role, name, 30, now, tmp_path / "identity")
    values = read(f"{unit}.d/identity.conf")
    loaded = dict(value.split(":", 1) for value in values["LoadCredential"])
    # systemd refuses to start a unit with a credential whose file is missing.
    assert set(loaded) == {file.name for file in (tmp_path / "identity").iterdir()}
    assert all(path == f"/etc/pangea/identity/%N/{file}" for file, path in loaded.items())
    assert values["Environment"] == ["PANGEA_IDENTITY=%d"]
    assert "IPAddressDeny" not in values and values["IPAddressAllow"]


def test_the_memory_of_go_is_below_what_the_unit_may_use() -> None:
    assert environment(ORCHESTRATOR)["GOMEMLIMIT"] == "4352MiB"
    assert read(ORCHESTRATOR)["MemoryHigh"] == ["4608M"]


def test_services_and_workers_on_one_machine_find_each_other_by_default() -> None:
    assert environment(ORCHESTRATOR)["LISTEN"] == environment(WORKER)["PANGEA_ORCHESTRATOR"]
    assert environment(DATA)["LISTEN"] == environment(WORKER)["PANGEA_DATA"]
    assert environment(ORCHESTRATOR)["PANGEA_SEED"] == environment(WORKER)["PANGEA_SEED"]
    assert [environment(unit)["HTTP"] for unit in (ORCHESTRATOR, DATA)] == ["127.0.0.1:8081", "127.0.0.1:9091"]


def test_the_options_of_the_run_are_those_of_every_run() -> None:
    assert differing_options(command(ORCHESTRATOR, environment(ORCHESTRATOR), {"S": "/var/lib"})) == {}
