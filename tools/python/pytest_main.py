"""Runs pytest over the files that a `pytest_test` names, and writes the XML report that Bazel collects."""

import importlib
import importlib.util
import os
import sys

import pytest


def pin_arithmetic() -> None:
    """Has this process compute as workers do, where the package is part of the test: tests compare bits with those of
    workers, which are pinned."""
    if importlib.util.find_spec("pangea") is not None:
        importlib.import_module("pangea.arithmetic").pin_before_torch()


def main() -> int:
    """Exit code of pytest; a run that collected no test counts as failed."""
    pin_arithmetic()
    options = ["-p", "no:cacheprovider", "-p", "no:typeguard", "--import-mode=importlib", "--strict-markers", "-ra"]
    if report := os.environ.get("XML_OUTPUT_FILE"):
        options.append(f"--junitxml={report}")
    if only := os.environ.get("TESTBRIDGE_TEST_ONLY"):
        options.append(f"-k={only}")
    if temporary := os.environ.get("TEST_TMPDIR"):
        options.append(f"--basetemp={temporary}/pytest")
    return int(pytest.main(options + sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main())
