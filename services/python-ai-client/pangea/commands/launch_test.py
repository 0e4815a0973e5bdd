"""`pangea launch`: what it renders and refuses, and that kubectl gets what it renders."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pangea.commands.main import main
from pangea.places import program


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller's folder, and the programs: rust-compute, which parses dataset specs, and a placeholder."""
    monkeypatch.setenv("BUILD_WORKING_DIRECTORY", str(tmp_path))
    (tmp_path / "rust-compute").symlink_to(program("rust-compute"))
    (tmp_path / "go-orchestrator").touch(0o755)
    monkeypatch.setenv("PANGEA_BIN_DIR", str(tmp_path))


def launch(backend: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["launch", "--backend", backend, "--run-dir", "run", *arguments])


@pytest.mark.parametrize("backend", [["local"], ["ssh", "--host", "a"], ["kubernetes"], ["ray"]])
def test_render_shows_the_requested_run_and_starts_nothing(backend: list[str], tmp_path: Path) -> None:
    result = launch(*backend, "--render", "--epochs", "17", "--seed", "4711", "--", "--lr", "0.25")
    assert result.exit_code == 0, result.output
    for word in ("17", "4711", "0.25"):
        assert word in result.output
    assert not (tmp_path / "run").exists()


def test_local_renders_the_commands_of_all_processes(tmp_path: Path) -> None:
    lines = [
        shlex.split(line)
        for line in launch("local", "--render", "--workers", "3", "--data-replicas", "2").output.splitlines()
    ]
    assert [line[0] for line in lines] == [
        *[str(tmp_path / "rust-compute")] * 2,
        str(tmp_path / "go-orchestrator"),
        "env",
        "env",
        "env",
    ]


def test_ssh_distributes_the_processes_over_the_hosts_of_the_options_and_the_file(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("# the rack\nme@second\n\nthird  # slow\n")
    output = launch(
        "ssh", "--render", "--workers", "3", "--host", "first", "--hosts", "hosts", "--programs", "/opt/pangea"
    ).output
    assert [line for line in output.splitlines() if line.startswith("# ")] == [
        "# rust-compute on first",
        "# go-orchestrator on first",
        "# worker-1 on first",
        "# worker-2 on me@second",
        "# worker-3 on third",
    ]
    assert "PANGEA_ORCHESTRATOR=first:8080 PANGEA_DATA=first:9090" in output
    assert "/opt/pangea/pangea worker" in output


def test_without_programs_a_host_starts_what_its_pangea_brings_along() -> None:
    output = launch("ssh", "--render", "--host", "first").output
    for words in ("program go-orchestrator --run-dir ", "program rust-compute --dataset ", "worker "):
        assert f"pangea {words}" in output
    # Each host knows where it has the data.
    assert "--data-dir" not in output


def test_a_host_looks_for_pangea_in_the_environment_of_the_command_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("python", "pangea"):
        (tmp_path / name).write_text("")
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    looks = f'PATH={tmp_path}:"$PATH"'
    assert looks in launch("ssh", "--render", "--host", "first").output
    assert looks not in launch("ssh", "--render", "--host", "first", "--programs", "/opt/pangea").output


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["ssh"], 1, "needs hosts"),
        (["ssh", "--host=-oProxyCommand=x"], 1, "is not a host"),
        (["ssh", "--hosts", "nowhere"], 1, "nowhere"),
        (["local", "--host", "a"], 2, "--host belongs to --backend ssh"),
        (["ssh", "--host", "a", "--data-claim", "c"], 2, "--data-claim belongs to --backend kubernetes"),
        (["kubernetes", "--dataset", "stdlib"], 1, "contains only the digits"),
        (["kubernetes", "--dataset", "faces"], 2, "there is no such dataset"),
        (["ray"], 1, "needs the package ray"),
        (["local", "--secure"], 2, "does not leave this machine"),
        (["slurm"], 2, "is not one of"),
    ],
)
def test_what_cannot_be_launched_is_an_error_message(arguments: list[str], code: int, message: str) -> None:
    result = launch(*arguments)
    assert result.exit_code == code
    assert message in result.output


def kubectl(folder: Path, *, secrets_exist: bool) -> None:
    """A stand-in for kubectl that stores its arguments and its input."""
    program = folder / "kubectl"
    program.write_text(
        f'#!/bin/sh\necho "$@" >> {folder}/arguments\n[ "$1" = get ] && exit {int(not secrets_exist)}\n'
        f"cat > {folder}/$1\n"
    )
    program.chmod(0o755)


@pytest.mark.parametrize("exist", [False, True])
def test_kubectl_gets_what_render_prints_and_the_secrets_once(
    exist: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubectl(tmp_path, secrets_exist=exist)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    result = launch("kubernetes", "--namespace", "there")
    assert result.exit_code == 0 and "PRIVATE KEY" not in result.output
    asked = "get secret run-worker-identity --namespace there\n"
    assert (tmp_path / "arguments").read_text() == asked + ("" if exist else "create -f -\n") + "apply -f -\n"
    assert (tmp_path / "apply").read_text() == launch("kubernetes", "--namespace", "there", "--render").output
    assert (tmp_path / "create").exists() != exist
    assert exist or (tmp_path / "create").read_text().count("PRIVATE KEY") == 6


@pytest.mark.parametrize("way", ["option", "variable"])
def test_an_insecure_run_has_no_secrets(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kubectl(tmp_path, secrets_exist=False)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("PANGEA_INSECURE", str(int(way == "variable")))
    assert launch("kubernetes", *(["--insecure"] if way == "option" else [])).exit_code == 0
    assert (tmp_path / "arguments").read_text() == "apply -f -\n"
    assert "PANGEA_INSECURE" in (tmp_path / "apply").read_text()


def test_a_kubectl_that_fails_or_is_missing_is_an_error_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "there is no kubectl on PATH" in launch("kubernetes").output
    program = tmp_path / "kubectl"
    program.write_text('#!/bin/sh\n[ "$1" != apply ] || exit 3\n')
    program.chmod(0o755)
    result = launch("kubernetes")
    assert result.exit_code == 1
    assert "exit code 3" in result.output


@pytest.mark.parametrize("backend", [["ssh", "--host", "a"], ["kubernetes"], ["ray"]])
def test_a_script_with_a_dataset_of_its_own_gets_no_data_service_unless_one_is_asked_for(
    backend: list[str], tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text("import pangea\nrun = pangea.join(model, optimizer, dataset=train_set)\n")
    own = launch(*backend, "--render", "own.py")
    assert own.exit_code == 0, own.output
    assert "rust-compute" not in own.stdout and "the script has a dataset of its own" in own.stderr
    assert "rust-compute" in launch(*backend, "--render", "--data-replicas", "1", "own.py").stdout
