"""`./bazelw run //tests/fuzz -- --hours N`: runs every fuzz target in turn, and reports what each did.

A finding is written to --findings, in a folder of its target; its input becomes a file of the corpus, and a test
beside the code that it is about. Inputs that reached something new are kept below --kept, for the next run.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

RUST = (
    "frames",
    "messages",
    "agreement",
    "requests",
    "replies",
    "csv",
    "text",
    "gzip",
    "spec",
    "identity",
    "certificate",
)
# Beyond its time, for the corpus and the last input.
GRACE_SECONDS = 300
# After this many findings in one run, a target waits to be fixed.
MANY_FINDINGS = 5
# What the limits of a service allow is far less.
MEMORY_MB = 2048


@dataclass
class Total:
    """What a target has done so far.

    Attributes:
        seconds: that it ran.
        executions: inputs that it was given.
        edges: of the code, that some input has reached; 0 for Go, which does not report them.
        kept: inputs, each of which reached what none before it did.
        findings: inputs that a reader did not survive.
    """

    seconds: float = 0.0
    executions: int = 0
    edges: int = 0
    kept: int = 0
    findings: int = 0

    def add(self, found: Total) -> None:
        """Takes what a target did in another round, whose inputs include those that were kept before."""
        self.seconds += found.seconds
        self.executions += found.executions
        self.edges = max(self.edges, found.edges)
        self.kept = max(self.kept, found.kept)
        self.findings += found.findings


def run_rust(target: str, seconds: int, findings: Path, kept: Path, seed: int) -> Total:
    """Runs a target of the Rust program for a while, and again after each finding."""
    total, end = Total(), time.monotonic() + seconds
    while total.findings < MANY_FINDINGS and (left := round(end - time.monotonic())) > 0:
        total.add(_run_libfuzzer(target, left, findings / target, kept / target, seed + total.findings))
    return total


def _run_libfuzzer(target: str, seconds: int, findings: Path, kept: Path, seed: int) -> Total:
    findings.mkdir(parents=True, exist_ok=True)
    kept.mkdir(parents=True, exist_ok=True)
    options = {
        "max_total_time": seconds,
        # 0 means one by chance.
        "seed": seed % (1 << 32) or 1,
        "max_len": 1 << 16,
        "timeout": 25,
        "rss_limit_mb": MEMORY_MB,
        "print_final_stats": 1,
        "artifact_prefix": f"{findings}/",
    }
    given = [f"-{name}={value}" for name, value in options.items()]
    started = time.monotonic()
    result = subprocess.run(
        [os.environ["RUST_TARGETS"], *given, str(kept), str(Path(os.environ["CORPUS"]) / target)],
        env={**os.environ, "FUZZ_TARGET": target},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=seconds + GRACE_SECONDS,
        check=False,
    )
    if result.returncode != 0:
        sys.stderr.write(result.stderr)
        (findings / f"log-{seed}").write_text(result.stderr)
    return Total(
        seconds=time.monotonic() - started,
        # "stat::number_of_executed_units: 1234"
        executions=_last(r"number_of_executed_units: (\d+)", result.stderr),
        # "#1234 DONE   cov: 441 ft: 1203 corp: 93/11Kb lim: 4096 exec/s: 617 rss: 40Mb"
        edges=_last(r" cov: (\d+) ", result.stderr),
        kept=_last(r" corp: (\d+)/", result.stderr),
        findings=int(result.returncode != 0),
    )


def run_go(program: Path, testdata: Path, name: str, seconds: int, findings: Path, kept: Path) -> Total:
    """Runs one target of a Go test program with Go's own fuzzing.

    Go reads the corpus of the package from below its current folder, and writes an input that fails there.
    """
    folder = findings / name
    shutil.rmtree(folder, ignore_errors=True)
    if testdata.is_dir():
        shutil.copytree(testdata, folder / "testdata")
    folder.mkdir(parents=True, exist_ok=True)
    options = {
        "run": "^$",
        "fuzz": f"^{name}$",
        "fuzztime": f"{seconds}s",
        # Without a bound, a minute goes into making one input smaller.
        "fuzzminimizetime": "20x",
        "fuzzcachedir": kept,
    }
    started = time.monotonic()
    result = subprocess.run(
        [program, *(f"-test.{option}={value}" for option, value in options.items())],
        cwd=folder,
        # Go's fuzzing writes its progress to the one and its findings to the other.
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=seconds + GRACE_SECONDS,
        check=False,
    )
    if result.returncode != 0:
        sys.stderr.write(result.stdout)
        (folder / "log").write_text(result.stdout)
    else:
        shutil.rmtree(folder)
    return Total(
        seconds=time.monotonic() - started,
        # "fuzz: elapsed: 3s, execs: 325017 (108336/sec), new interesting: 11 (total: 202)"
        executions=_last(r" execs: (\d+) ", result.stdout),
        kept=_last(r"\(total: (\d+)\)", result.stdout),
        findings=int(result.returncode != 0),
    )


def _last(pattern: str, text: str) -> int:
    """The number in the last match of a pattern; 0 if there is none."""
    found = re.findall(pattern, text)
    return int(found[-1]) if found else 0


def go_targets() -> dict[str, tuple[Path, Path]]:
    """Each Go target, with its program and the corpus of its package.

    GO_PROGRAMS has these as PROGRAM:PACKAGE, separated by blanks; the programs say which targets they have.
    """
    found = {}
    for word in os.environ.get("GO_PROGRAMS", "").split():
        program, _, package = word.partition(":")
        listed = subprocess.run([program, "-test.list=^Fuzz"], capture_output=True, text=True, check=True)
        for name in listed.stdout.split():
            found[name] = (Path(program).resolve(), Path(package).resolve() / "testdata")
    return found


def main() -> None:
    """Prints a table of what each target did; exits with 1 if there is a finding."""
    temporary = Path(tempfile.gettempdir())
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=0.0)
    parser.add_argument("--seconds", type=float, default=0.0, help="of each target, instead of --hours in all")
    parser.add_argument("--findings", type=Path, default=temporary / "pangea-findings")
    parser.add_argument("--kept", type=Path, default=temporary / "pangea-fuzz", help="inputs that reach something new")
    parser.add_argument("--only", action="append", help="a target; may be given several times")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    arguments = parser.parse_args()
    findings, kept = arguments.findings.resolve(), arguments.kept.resolve()
    run: dict[str, Callable[[int, int], Total]] = {}
    for name in RUST:
        run[name] = partial(_rust, name, findings, kept)
    for name, (program, testdata) in go_targets().items():
        run[name] = partial(_go, program, testdata, name, findings, kept)
    chosen = {name: run[name] for name in run if not arguments.only or name in arguments.only}
    if not chosen:
        sys.exit(f"fuzz: there is no such target; there are {', '.join(run)}")
    seconds = arguments.seconds or arguments.hours * 3600 / len(chosen) or 10.0
    # Rounds of at most five minutes: every target gets new seeds, and an early end has tried all of them.
    rounds = max(1, round(seconds / 300))
    total = {name: Total() for name in chosen}
    for number in range(rounds):
        for name, start in chosen.items():
            if total[name].findings < MANY_FINDINGS:
                total[name].add(start(max(1, round(seconds / rounds)), arguments.seed + number * MANY_FINDINGS))
    print(f"{'target':<16}{'hours':>8}{'executions':>16}{'edges':>8}{'kept':>8}{'findings':>10}")
    for name, did in total.items():
        edges = did.edges or "-"
        print(f"{name:<16}{did.seconds / 3600:>8.2f}{did.executions:>16,}{edges:>8}{did.kept:>8}{did.findings:>10}")
    if any(did.findings for did in total.values()):
        sys.exit(f"fuzz: findings are in {findings}; the seed is {arguments.seed}")


def _rust(target: str, findings: Path, kept: Path, seconds: int, seed: int) -> Total:
    return run_rust(target, seconds, findings, kept, seed)


def _go(program: Path, testdata: Path, name: str, findings: Path, kept: Path, seconds: int, _seed: int) -> Total:
    return run_go(program, testdata, name, seconds, findings, kept)


if __name__ == "__main__":
    main()
