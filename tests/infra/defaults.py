"""Compares what deployment files tell the orchestrator with the defaults of a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from pangea.services.options import RunOptions


def differing_options(arguments: Iterable[str]) -> dict[str, str]:
    """Returns the options of a run, by flag, whose value in a command line is not their default.

    Args:
        arguments: of go-orchestrator, as `--flag=value`; those that are not options of a run are ignored.
    """
    defaults = {name.replace("_", "-"): value for name, value in dataclasses.asdict(RunOptions()).items()}
    given = dict(argument.removeprefix("--").split("=", 1) for argument in arguments if argument.startswith("--"))
    shared = {flag: value for flag, value in given.items() if flag in defaults}
    if not shared:
        raise ValueError("the command line has no option of a run")
    return {flag: value for flag, value in shared.items() if _parsed(value, defaults[flag]) != defaults[flag]}


def _parsed(text: str, default: Any) -> Any:
    return text == "true" if isinstance(default, bool) else type(default)(text)
