"""`pangea health` distinguishes a worker that is alive from one that is not."""

from __future__ import annotations

import socket

import pytest
from click.testing import CliRunner

from pangea.commands.main import main
from pangea.worker.probes import HealthServer


def test_a_worker_that_answers_is_alive() -> None:
    address = f"127.0.0.1:{HealthServer('127.0.0.1:0').port}"
    result = CliRunner().invoke(main, ["health", address])
    assert (result.exit_code, result.output) == (0, f"{address} is alive\n")


def test_an_ipv6_address_is_given_in_brackets() -> None:
    address = f"[::1]:{HealthServer('[::1]:0').port}"
    result = CliRunner().invoke(main, ["health", address])
    assert (result.exit_code, result.output) == (0, f"{address} is alive\n")


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_a_proxy_of_the_environment_is_not_used(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing listens there.
    monkeypatch.setenv(variable, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    address = f"127.0.0.1:{HealthServer('127.0.0.1:0').port}"
    assert CliRunner().invoke(main, ["health", address]).exit_code == 0


def test_an_address_without_a_listener_is_not_alive() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = "{}:{}".format(*closed.getsockname())
    result = CliRunner().invoke(main, ["health", address])
    assert result.exit_code == 1
    assert f"no answer from {address}/healthz" in result.output


def test_an_invalid_address_is_named() -> None:
    result = CliRunner().invoke(main, ["health", "nonsense:port"])
    assert result.exit_code == 1
    assert "nonsense:port" in result.output
