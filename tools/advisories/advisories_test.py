"""Published advisories concern the versions that they name, in the order of each ecosystem, and no others."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tools.advisories.accepted import Accepted, read_accepted
from tools.advisories.bills import Package, read_bill
from tools.advisories.database import BadAdvisory, read_databases
from tools.advisories.main import findings, main, report

TESTDATA = Path(__file__).with_name("testdata")
TODAY = dt.date(2026, 11, 28)


def concerned(ecosystem: str, name: str, version: str) -> list[str]:
    found = findings(read_databases([TESTDATA]), [Package(ecosystem, name, version)])
    return [affected.advisory for _package, affected in found]


@pytest.mark.parametrize(
    ("ecosystem", "name", "version", "ids"),
    [
        ("Go", "stdlib", "1.26.4", ["GO-2026-4970"]),
        ("Go", "stdlib", "1.26.5", []),
        ("Go", "stdlib", "1.26.6", []),
        ("Go", "stdlib", "1.25.12", []),
        ("Go", "stdlib", "1.18.5", ["GO-2022-0969", "GO-2026-4970"]),
        ("Go", "golang.org/x/net", "0.0.0-20220826154423-83b083e8dc8b", ["GO-2022-0969"]),
        ("Go", "golang.org/x/net", "0.0.0-20220906165146-f3363e06e74c", []),
        ("Go", "golang.org/x/net", "0.10.0", []),
        ("crates.io", "smallvec", "0.6.2", []),
        ("crates.io", "smallvec", "0.6.13", ["RUSTSEC-2021-0003"]),
        ("crates.io", "smallvec", "1.6.0", ["RUSTSEC-2021-0003"]),
        ("crates.io", "smallvec", "1.10.0", []),
        ("PyPI", "jinja2", "2.9", ["PYSEC-2021-66"]),
        ("PyPI", "jinja2", "2.11.2", ["PYSEC-2021-66"]),
        ("PyPI", "jinja2", "2.11.3", []),
        ("PyPI", "smallvec", "0.6.13", []),
    ],
)
def test_an_advisory_concerns_the_versions_that_it_names(
    ecosystem: str, name: str, version: str, ids: list[str]
) -> None:
    assert concerned(ecosystem, name, version) == ids


def write(folder: Path, **changes: object) -> None:
    """An advisory of a Debian package and a wheel, with these changes."""
    affected = [
        {
            "package": {"ecosystem": "Debian:13", "name": "openssl"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3.5.1-1+deb13u2"}]}],
        },
        {
            "package": {"ecosystem": "PyPI", "name": "Some.Wheel_name"},
            "ranges": [
                {"type": "GIT", "events": [{"introduced": "0"}]},
                {"type": "ECOSYSTEM", "events": [{"introduced": "1.0"}, {"last_affected": "1.2"}]},
            ],
        },
    ]
    content = {"id": "TEST-1", "details": "first line\nsecond", "affected": affected, **changes}
    (folder / "one.json").write_text(json.dumps(content))


def test_debian_versions_and_the_last_affected_one_are_compared(tmp_path: Path) -> None:
    write(tmp_path)
    database = read_databases([tmp_path])
    packages = [
        Package("Debian", "openssl", "3.5.1-1+deb13u1"),
        Package("Debian", "openssl", "3.5.1-1+deb13u2"),
        Package("PyPI", "some-wheel-name", "1.2"),
        Package("PyPI", "some-wheel-name", "1.2.1"),
        Package("PyPI", "some-wheel-name", "0.9"),
    ]
    assert [package.version for package, _affected in findings(database, packages)] == ["3.5.1-1+deb13u1", "1.2"]


def test_a_withdrawn_advisory_concerns_nothing(tmp_path: Path) -> None:
    write(tmp_path, withdrawn="2026-01-01T00:00:00Z")
    with pytest.raises(BadAdvisory, match="has no advisories in the OSV format"):
        read_databases([tmp_path])


@pytest.mark.parametrize("content", ["", "[", '{"id": "A", "affected": [{"package": 1}]}', '{"id": 1, "affected": 2}'])
def test_a_file_that_cannot_be_read_is_no_clean_result(content: str, tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(content)
    with pytest.raises(BadAdvisory, match="one.json"):
        read_databases([tmp_path])


def test_a_version_that_cannot_be_compared_is_no_clean_result(tmp_path: Path) -> None:
    with pytest.raises(BadAdvisory, match="cannot be compared"):
        concerned("crates.io", "smallvec", "latest")


def bill(folder: Path, *urls: str) -> Path:
    file = folder / "bill.json"
    file.write_text(json.dumps({"components": [{"purl": url} for url in urls]}))
    return file


def test_the_packages_of_a_bill_have_the_names_of_advisories(tmp_path: Path) -> None:
    found = read_bill(
        bill(
            tmp_path,
            "pkg:golang/std@1.26.4",
            "pkg:golang/golang.org/x/sys@v0.35.0",
            "pkg:cargo/smallvec@1.15.1",
            "pkg:pypi/typing_extensions@4.16.0",
            "pkg:deb/debian/libstdc%2B%2B6@14.2.0-19?arch=amd64&distro=trixie",
            "pkg:generic/something@1",
        )
    )
    assert found == [
        Package("Debian", "libstdc++6", "14.2.0-19"),
        Package("Go", "golang.org/x/sys", "0.35.0"),
        Package("Go", "stdlib", "1.26.4"),
        Package("PyPI", "typing-extensions", "4.16.0"),
        Package("crates.io", "smallvec", "1.15.1"),
    ]


def test_an_accepted_advisory_is_no_finding_until_its_day() -> None:
    found = findings(read_databases([TESTDATA]), [Package("Go", "stdlib", "1.26.4")])
    for until, clean in ((TODAY, True), (TODAY - dt.timedelta(days=1), False)):
        lines, is_clean = report(found, [Accepted("GO-2026-4970", "stdlib", "os.Root is not used", until)], TODAY)
        assert is_clean == clean and len(lines) == 1
    lines, is_clean = report([], [Accepted("GO-2026-4970", "stdlib", "os.Root is not used", TODAY)], TODAY)
    assert is_clean and "concerns nothing any more; remove it" in lines[0]


def test_the_exceptions_have_reasons(tmp_path: Path) -> None:
    read_accepted(Path(__file__).with_name("accepted.toml"))
    (tmp_path / "accepted.toml").write_text('[[accepted]]\nid = "A"\npackage = "p"\nreason = " "\nuntil = 2026-01-01\n')
    with pytest.raises(ValueError, match="A needs a reason"):
        read_accepted(tmp_path / "accepted.toml")


def test_the_command_fails_for_a_finding_and_passes_without_one(tmp_path: Path) -> None:
    for version, code in (("1.26.4", 1), ("1.26.6", 0)):
        file = bill(tmp_path, f"pkg:golang/std@{version}")
        result = CliRunner().invoke(main, ["--database", str(TESTDATA), "--sbom", str(file)])
        assert result.exit_code == code, result.output
        assert ("GO-2026-4970: stdlib 1.26.4 (Go): Root escape" in result.output) == (code == 1)
    missing = CliRunner().invoke(main, ["--database", str(tmp_path / "missing"), "--sbom", str(file)])
    assert missing.exit_code == 1 and "has no advisories" in missing.output
