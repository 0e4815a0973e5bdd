"""systemd itself accepts the units, and rates their exposure as low."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.infra.systemd.own_run import own_run
from tests.infra.systemd.units import FOLDER, UNITS

_ORCHESTRATOR, _DATA, WORKER = UNITS

# Of 100. systemd-analyze calls values below 50 OK; a unit without any hardening has 96.
MOST_EXPOSURE = 12
# A worker may make more system calls than a service, and has one point more where it leaves its machine.
MOST_EXPOSURE_OF_A_WORKER_BEYOND = 13


@pytest.fixture(params=[False, True], ids=["alone", "with an identity"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The root of a machine on which the units are installed, also with what a run beyond the loopback needs."""
    folders = {name: tmp_path / name for name in ("etc/systemd/system", "usr/lib/systemd/system", "usr/local/bin")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    for unit in UNITS:
        for name in (unit, f"{unit}.d/identity.conf") if request.param else (unit,):
            installed = folders["etc/systemd/system"] / name
            installed.parent.mkdir(exist_ok=True)
            installed.write_text((FOLDER / name).read_text())
    for unit in os.environ["SYSTEMD_UNITS"].split():
        (folders["usr/lib/systemd/system"] / Path(unit).name).write_text(Path(unit).read_text())
    # systemd only asks that they are executable; programs_test.py starts the real ones.
    for name in ("go-orchestrator", "rust-compute", "pangea"):
        installed = folders["usr/local/bin"] / name
        installed.write_text("#!/bin/sh\n")
        installed.chmod(0o755)
    return tmp_path


def analyze(verb: str, root: Path, unit: str, *options: str) -> tuple[int, str]:
    """The exit code and the output of systemd-analyze."""
    command = [os.environ["SYSTEMD_ANALYZE"], verb, f"--root={root}", "--no-pager", *options, unit.replace("@.", "@1.")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, preexec_fn=own_run)
    return ended.returncode, ended.stdout + ended.stderr


def change(root: Path, unit: str, old: str, new: str) -> None:
    file = root / "etc/systemd/system" / unit
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def most(root: Path, unit: str) -> int:
    """The highest exposure that a unit may have."""
    beyond = (root / "etc/systemd/system" / f"{unit}.d").exists()
    return MOST_EXPOSURE_OF_A_WORKER_BEYOND if beyond and unit == WORKER else MOST_EXPOSURE


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_accepts_the_unit(unit: str, root: Path) -> None:
    assert analyze("verify", root, unit, "--man=no") == (0, "")


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("RestartSec=", "RestartSecs=", "RestartSecs"),
        ("DynamicUser=yes", "DynamicUser=perhaps", "perhaps"),
        ("ExecStart=/usr/local/bin/", "ExecStart=/usr/local/sbin/", "/usr/local/sbin/"),
        ("SystemCallFilter=@system-service", "SystemCallFilter=@system-servant", "@system-servant"),
    ],
)
def test_systemd_finds_mistakes(unit: str, old: str, new: str, named: str, root: Path) -> None:
    change(root, unit, old, new)
    assert named in analyze("verify", root, unit, "--man=no")[1]


@pytest.mark.parametrize("unit", UNITS)
def test_the_unit_is_hardened(unit: str, root: Path) -> None:
    code, text = analyze("security", root, unit, "--offline=true", f"--threshold={most(root, unit)}")
    assert code == 0, text


def exposure(root: Path, unit: str) -> float:
    """The exposure of a unit, of 10."""
    text = analyze("security", root, unit, "--offline=true", "--threshold=100")[1]
    found = re.search(r"Overall exposure level for \S+: (\d+\.\d+)", text)
    assert found is not None, text
    return float(found[1])


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("setting", ["DynamicUser", "CapabilityBoundingSet", "SystemCallFilter"])
def test_a_missing_setting_is_noticed(unit: str, setting: str, root: Path) -> None:
    before = exposure(root, unit)
    file = root / "etc/systemd/system" / unit
    lines = file.read_text().splitlines()
    kept = [line for line in lines if not line.startswith(f"{setting}=")]
    assert len(kept) < len(lines)
    file.write_text("\n".join(kept))
    assert exposure(root, unit) > before
