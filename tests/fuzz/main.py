"""`./bazelw run //tests/fuzz -- --hours N`: runs every fuzz target in turn, and reports what each did.

A finding is written to --findings, with the name of its target; its input becomes a file of the corpus, and a test
beside the code that it is about.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

RUST = ("frames", "requests", "replies", "csv", "text", "gzip", "spec")
# Beyond its time, for the corpus and the last input.
GRACE_SECONDS = 120


@dataclass
class Total:
    """What a target has done so far."""

    executions: int = 0
    outcomes: int = 0
    findings: int = 0


def run_rust(target: str, seconds: int, findings: Path, seed: int) -> Total:
    """Runs one target of the Rust program; a process that ends by a signal is a finding."""
    corpus = Path(os.environ["CORPUS"]) / target
    command = [os.environ["RUST_TARGETS"], target, f"--seconds={seconds}", f"--seed={seed}"]
    words = [word for argument in command for word in argument.split("=", 1)]
    folder = Path(tempfile.mkdtemp(dir=findings))
    result = subprocess.run(
        [*words, "--corpus", str(corpus), "--findings", str(folder)],
        capture_output=True,
        text=True,
        timeout=seconds + GRACE_SECONDS,
        check=False,
    )
    for file in folder.iterdir():
        shutil.move(file, findings / f"{file.name}-seed-{seed}")
    folder.rmdir()
    if result.returncode not in (0, 1) or not result.stdout:
        sys.stderr.write(result.stderr)
        return Total(findings=1)
    if result.returncode == 1:
        sys.stderr.write(result.stderr)
    found = json.loads(result.stdout)
    return Total(found["executions"], found["outcomes"], found["findings"])


def run_go(program: str, name: str, seconds: int, findings: Path) -> Total:
    """Runs one target of a Go test program with Go's own fuzzing; it writes an input that fails below its folder."""
    cache = findings.parent / "go-cache"
    result = subprocess.run(
        [program, f"-test.fuzz=^{name}$", "-test.run=^$", f"-test.fuzztime={seconds}s", f"-test.fuzzcachedir={cache}"],
        cwd=findings,
        capture_output=True,
        text=True,
        timeout=seconds + GRACE_SECONDS,
        check=False,
    )
    # "fuzz: elapsed: 3s, execs: 325017 (108336/sec), new interesting: 11 (total: 202)"
    lines = [line.split() for line in result.stdout.splitlines() if " execs: " in line]
    executions = int(lines[-1][lines[-1].index("execs:") + 1]) if lines else 0
    outcomes = int(lines[-1][-1].rstrip(")")) if lines and "(total:" in lines[-1] else 0
    if result.returncode != 0:
        sys.stderr.write(result.stdout + result.stderr)
    return Total(executions, outcomes, int(result.returncode != 0))


def go_targets() -> list[tuple[str, str]]:
    """Program and name of each Go target: GO_TARGETS has them as PROGRAM:NAME, separated by blanks."""
    given = os.environ.get("GO_TARGETS", "").split()
    return [(str(Path(program).resolve()), name) for program, _, name in (word.rpartition(":") for word in given)]


def main() -> None:
    """Prints a table of targets, executions, outcomes and findings; exits with 1 if there is a finding."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=0.0)
    parser.add_argument("--seconds", type=float, default=0.0, help="of each target, instead of --hours in all")
    parser.add_argument("--findings", type=Path, default=Path(tempfile.gettempdir()) / "pangea-findings")
    parser.add_argument("--only", action="append", help="a target; may be given several times")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    arguments = parser.parse_args()
    findings = arguments.findings.resolve()
    findings.mkdir(parents=True, exist_ok=True)
    only = arguments.only
    rust = [name for name in RUST if not only or name in only]
    go = [(program, name) for program, name in go_targets() if not only or name in only]
    if not rust and not go:
        sys.exit(f"fuzz: there is no such target; there are {', '.join([*RUST, *(name for _, name in go_targets())])}")
    count = len(rust) + len(go)
    seconds = arguments.seconds or arguments.hours * 3600 / count or 10.0
    # Rounds of at most five minutes: every target gets new seeds, and an early end has tried all of them.
    rounds = max(1, round(seconds / 300))
    total = {name: Total() for name in [*rust, *(name for _, name in go)]}
    for number in range(rounds):
        each = max(1, round(seconds / rounds))
        for name in rust:
            _add(total[name], run_rust(name, each, findings, arguments.seed + number))
        for program, name in go:
            _add(total[name], run_go(program, name, each, findings))
    print(f"{'target':<24}{'executions':>14}{'outcomes':>10}{'findings':>10}")
    for name, found in total.items():
        print(f"{name:<24}{found.executions:>14,}{found.outcomes:>10,}{found.findings:>10}")
    if any(found.findings for found in total.values()):
        sys.exit(f"fuzz: findings are in {findings}; the seed is {arguments.seed}")


def _add(total: Total, found: Total) -> None:
    total.executions += found.executions
    total.outcomes = max(total.outcomes, found.outcomes)
    total.findings += found.findings


if __name__ == "__main__":
    main()
