"""`pangea health` tells up from down."""

from __future__ import annotations

from click.testing import CliRunner

from pangea.health import HealthServer
from pangea.health_command import health_command


def test_a_worker_that_serves_is_alive_and_one_that_is_gone_is_not() -> None:
    server = HealthServer("127.0.0.1:0")
    address = f"127.0.0.1:{server.port}"
    try:
        result = CliRunner().invoke(health_command, [address])
        assert (result.exit_code, result.output) == (0, f"{address} is alive\n")
    finally:
        server.close()
    result = CliRunner().invoke(health_command, [address])
    assert result.exit_code == 1
    assert f"no answer from http://{address}/healthz" in result.output


def test_what_is_no_address_is_named() -> None:
    result = CliRunner().invoke(health_command, ["nonsense:port"])
    assert result.exit_code == 1
    assert "nonsense:port" in result.output
