"""What the command of the cache refuses, prints and starts."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tools.dev.cache import main
from tools.dev.settings import is_loopback


def run(tmp_path: Path, *arguments: str) -> Result:
    """The command with a program in place of bazel-remote that would fail the test if it were started by mistake."""
    program = tmp_path / "bazel-remote"
    program.touch()
    return CliRunner().invoke(main, [f"--program={program}", f"--dir={tmp_path / 'cache'}", *arguments])


def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[list[str], str]:
    """Command line that the command becomes, and what it printed before."""
    commands: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda _, command: commands.append(command))
    result = run(tmp_path, *arguments)
    assert result.exit_code == 0, result.output
    return commands[0], result.output


def test_it_listens_on_the_loopback_alone_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command, output = started(tmp_path, monkeypatch)
    addresses = [word for word in command if word.split("=")[0].endswith("_address")]
    assert addresses == ["--grpc_address=127.0.0.1:9092", "--http_address=127.0.0.1:9093"]
    assert f"--htpasswd_file={tmp_path / 'cache' / 'writers.htpasswd'}" in command
    assert "    build --config=remote-cache\n    build --remote_cache=grpc://127.0.0.1:9092\n" in output
    assert "nobody may write yet" in output


def test_beyond_the_loopback_tls_is_asked_for(tmp_path: Path) -> None:
    result = run(tmp_path, "--host=0.0.0.0")
    assert result.exit_code == 2
    assert "without TLS tokens and results would cross the network in the clear" in result.output
    assert not (tmp_path / "cache").exists()


def test_with_tls_clients_are_given_a_tls_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    certificate.touch()
    key.touch()
    command, output = started(tmp_path, monkeypatch, "--host=10.0.0.5", f"--tls-cert={certificate}", f"--tls-key={key}")
    assert {f"--tls_cert_file={certificate}", f"--tls_key_file={key}"} <= set(command)
    assert "build --remote_cache=grpcs://10.0.0.5:9092\n" in output


def test_half_of_tls_and_one_port_for_two_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").touch()
    assert "belong together" in run(tmp_path, f"--tls-cert={tmp_path / 'cert.pem'}").output
    assert "are both 9093" in run(tmp_path, "--port=9093").output


def test_a_new_writer_is_told_all_lines_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = run(tmp_path, "--add-writer=ci").output
    header = next(line for line in output.splitlines() if "authorization" in line)
    name, token = base64.b64decode(header.split("Basic ")[1].rstrip('"')).decode().split(":")
    assert name == "ci" and len(token) >= 43
    assert "build --config=remote-cache-write" in output
    _, later = started(tmp_path, monkeypatch)
    assert "may write: ci\n" in later and token not in later


def test_a_removed_writer_is_gone(tmp_path: Path) -> None:
    run(tmp_path, "--add-writer=ci")
    assert run(tmp_path, "--remove-writer=ci").output == "ci may no longer write\n"
    assert run(tmp_path, "--remove-writer=ci").exit_code == 1


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("127.9.9.9", True),
        ("0.0.0.0", False),
        ("cache", False),
    ],
)
def test_loopback_is_told_from_the_rest(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
