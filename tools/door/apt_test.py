"""Which mirror apt names, and what the private apt is told."""

import pathlib
from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from tools.door import apt
from tools.door.errors import DoorError


@pytest.fixture
def etc(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A folder in the place of /etc/apt; apt itself knows no index yet."""
    folder = tmp_path / "etc"
    (folder / "sources.list.d").mkdir(parents=True)
    redirected = SimpleNamespace(Path=lambda place: folder if place == "/etc/apt" else pathlib.Path(place))
    monkeypatch.setattr(apt, "pathlib", redirected)
    monkeypatch.setattr(apt, "_from_apt", list)
    return folder


def test_the_mirror_of_an_updated_machine_is_that_of_its_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        apt,
        "_from_apt",
        lambda: [
            "https://mirror.example/debian-security/",
            "https://mirror.example/debian/",
            "https://other.example/tools/",
        ],
    )
    assert apt.mirror() == "https://mirror.example/debian/"


def test_a_mirror_under_another_name_is_taken_before_the_security_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apt, "_from_apt", lambda: ["https://mirror.example/a-security", "https://mirror.example/b"])
    assert apt.mirror() == "https://mirror.example/b"


def test_one_line_sources_are_read_without_comments_and_options(etc: pathlib.Path) -> None:
    lines = [
        "# deb https://old.example/debian sid main",
        "deb-src https://source.example/debian sid main",
        "deb [arch=amd64] https://new.example/debian sid main",
    ]
    (etc / "sources.list").write_text("\n".join(lines))
    assert apt.mirror() == "https://new.example/debian"


def test_deb822_sources_are_read(etc: pathlib.Path) -> None:
    (etc / "sources.list.d" / "debian.sources").write_text(
        "Types: deb\nURIs: https://new.example/debian-security https://new.example/debian/\nSuites: sid\n"
    )
    assert apt.mirror() == "https://new.example/debian/"


def test_a_transport_with_a_plus_is_kept_whole(etc: pathlib.Path) -> None:
    (etc / "sources.list").write_text("deb mirror+https://new.example/debian sid main\n")
    assert apt.mirror() == "mirror+https://new.example/debian"


def test_a_machine_without_a_mirror_is_told(etc: pathlib.Path) -> None:
    (etc / "sources.list").write_text("# nothing\n")
    with pytest.raises(DoorError, match="names no Debian mirror"):
        apt.mirror()


def test_a_machine_without_apt_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DoorError, match="no apt-get on this machine"):
        apt.mirror()


def test_the_private_apt_touches_nothing_of_the_machines(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(apt, "mirror", lambda: "https://mirror.example/debian")
    private = apt.Apt(tmp_path / "apt")
    private.prepare()
    private.prepare()
    assert f'Dir "{tmp_path / "apt"}";' in private.conf.read_text().splitlines()
    assert (tmp_path / "apt/var/lib/dpkg/status").read_text() == ""
    sources = (tmp_path / "apt/etc/apt/sources.list").read_text().splitlines()
    assert [line.split()[-3:] for line in sources] == [
        ["https://mirror.example/debian", suite, "main"] for suite in apt.SUITES
    ]
    assert private.environment()["APT_CONFIG"] == str(private.conf)


def test_the_closure_is_what_apt_would_install(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    commands = []

    def simulate(command: Sequence[str], purpose: str, **options: object) -> str:
        commands.append(command)
        return "NOTE: only a simulation\nInst libc6 (2.41 Debian:13/stable [amd64])\nInst bash (5.2 Debian:13/stable [amd64])\nConf libc6 (2.41)\n"

    monkeypatch.setattr(apt, "run", simulate)
    assert apt.Apt(tmp_path).closure(["bash"], "forky") == ["libc6", "bash"]
    assert commands == [["apt-get", "-t", "forky", "install", "-s", "bash"]]
