"""`pangea certs` from the first authority to a revoked worker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pangea.commands.main import main


@pytest.fixture(autouse=True)
def _caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILD_WORKING_DIRECTORY", str(tmp_path))


def certs(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["certs", *arguments])


def states(folder: str) -> dict[str, str]:
    return {row["name"]: row["state"] for row in json.loads(certs("show", folder, "--json").output)["certificates"]}


def test_certificates_are_made_shown_renewed_and_revoked(tmp_path: Path) -> None:
    assert "the authority of run digits, until 20" in certs("new", "ca", "--run", "digits").output
    for role, name in (("orchestrator", "main"), ("worker", "one"), ("worker", "*")):
        made = certs("issue", "ca", role, name, "--to", f"{role}-{name.strip('*')}")
        assert made.exit_code == 0, made.output
        assert f"pangea://digits/{role}/{name}, until 20" in made.output
    assert states("ca") == {"main": "valid", "one": "valid", "*": "valid"}
    assert states("worker-one") == {"one": "valid"}
    assert "pangea://digits/worker/one, until" in certs("renew", "ca", "worker-one", "--days", "60").output
    revoked = certs("revoke", "ca", "worker", "one", "--to", "orchestrator-main")
    assert revoked.output == "revoked 2 certificates of pangea://digits/worker/one\n"
    assert states("ca") == {"main": "valid", "one": "revoked", "*": "valid"}
    assert (tmp_path / "orchestrator-main" / "revoked.pem").read_text() == (tmp_path / "ca" / "revoked.pem").read_text()
    shown = certs("show", "ca").output
    assert "Authority of run digits" in shown and "revoked" in shown


def test_all_that_a_small_run_needs_is_made_and_then_renewed(tmp_path: Path) -> None:
    for _ in range(2):
        result = certs("all", "small")
        assert result.exit_code == 0, result.output
    assert {folder.name for folder in (tmp_path / "small").iterdir()} == {
        "authority",
        "orchestrator",
        "data",
        "worker",
        "viewer",
    }
    shown = json.loads(certs("show", "small/authority", "--json").output)["certificates"]
    assert [(row["role"], row["name"], row["run"]) for row in shown[:4]] == [
        ("orchestrator", "main", "small"),
        ("data", "main", "small"),
        ("worker", "*", "small"),
        ("viewer", "main", "small"),
    ]
    assert len(shown) == 8


def test_where_a_new_list_has_to_go_is_said(tmp_path: Path) -> None:
    certs("new", "ca")
    certs("issue", "ca", "worker", "one", "--to", "one")
    assert "copy" in (output := certs("revoke", "ca", "worker", "one").output) and "revoked.pem" in output


def test_the_label_of_a_run_is_the_name_of_the_folder() -> None:
    assert "of run mine," in certs("new", "somewhere/mine").output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["new", "bad name"], "label of a run"),
        (["new", "there"], "has an authority already"),
        (["issue", "missing", "worker", "one", "--to", "one"], "has no authority"),
        (["issue", "there", "worker", "a/b", "--to", "one"], "cannot be a name in a certificate"),
        (["issue", "there", "viewer", "*", "--to", "one"], "only a worker's"),
        (["renew", "there", "missing"], "cannot read"),
        (["revoke", "there", "worker", "nobody"], "has no certificate that is valid"),
        (["show", "missing"], "is neither the folder of an authority nor an identity directory"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(arguments: list[str], said: str) -> None:
    certs("new", "there")
    result = certs(*arguments)
    assert result.exit_code == 1
    assert said in result.output and result.output.startswith("pangea: ") and result.output.count("\n") == 1
