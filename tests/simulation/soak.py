"""Checks any number of seeds."""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation.histories import judge_all, replay


def main() -> None:
    """Prints what is wrong and how to play it again; exits with 1 if anything is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=10_000)
    arguments = parser.parse_args()
    started = time.perf_counter()
    wrong, faults = judge_all(arguments.first, arguments.count)
    for seed, found in wrong.items():
        print(f"seed {seed}: {found[0]} ({len(found)} in all); {replay(seed)}")
    print(f"{arguments.count / (time.perf_counter() - started):.1f} histories a second; {faults}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
