#!/usr/bin/env python3
"""Continuous integration: the README's test command, then the lint. Ends with `N passed, N failed`; exits with 1 if anything failed.

The count is that of Bazel's test targets, of the linters in the build and of the lint's tools, from Bazel's own record of events, so that a test that did not run does not count as a success.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

WORKSPACE = pathlib.Path(__file__).resolve().parents[1]
sys.dont_write_bytecode = True
sys.path.insert(0, str(WORKSPACE))

from tools.report.events import EventsError, read_record  # noqa: E402  (the path must be set first)


def run_tests(events: pathlib.Path) -> "tuple[int, int]":
    """Passed and failed test targets of `./bazelw test //...`; a build that breaks, or that is cut off, counts as one failure."""
    code = subprocess.run(
        ["./bazelw", "test", "//...", "--config=ci", "--keep_going", f"--build_event_json_file={events}"],
        cwd=WORKSPACE,
        check=False,
    ).returncode
    try:
        record = read_record(events)
    except (EventsError, OSError) as error:
        print(f"checks: {error}", file=sys.stderr)
        return 0, 1
    return record.passed_tests, record.failed_tests or int(code != 0)


def run_lint() -> "tuple[int, int]":
    """Passed and failed tools of `./bazelw run //:lint`, from its last line."""
    result = subprocess.run(
        ["./bazelw", "run", "--config=ci", "//:lint"], cwd=WORKSPACE, stdout=subprocess.PIPE, text=True, check=False
    )
    print(result.stdout, end="")
    counts = re.search(r"^(\d+) passed, (\d+) failed$", result.stdout, re.MULTILINE)
    passed, failed = (int(counts[1]), int(counts[2])) if counts else (0, 1)
    return passed, failed or int(result.returncode != 0)


def run_linters_of_the_build() -> "tuple[int, int]":
    """One passed or one failed: clippy and the other linters that look at one target at a time."""
    code = subprocess.run(
        ["./bazelw", "build", "//...", "--config=ci", "--config=lint", "--keep_going"], cwd=WORKSPACE, check=False
    ).returncode
    return (0, 1) if code else (1, 0)


def main() -> int:
    """Runs all and prints the sum."""
    # Not under /tmp: what runs Bazel has one of its own.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        tests = run_tests(pathlib.Path(folder) / "events.json")
    counts = [tests, run_linters_of_the_build(), run_lint()]
    passed, failed = sum(count[0] for count in counts), sum(count[1] for count in counts)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
