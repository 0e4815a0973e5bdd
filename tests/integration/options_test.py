"""Each option of a run has one default: in the commands, in a script without a launcher, and in go-orchestrator."""

from __future__ import annotations

import dataclasses
import inspect
import re
import subprocess
from typing import Any

import click
import pytest

from pangea.commands.main import main
from pangea.launch.settings import Settings
from pangea.places import program
from pangea.services.options import RunOptions
from pangea.worker.join import join

FIELDS: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(RunOptions)}
# Options that only some commands have.
OWN = {
    "train": {"take_changes"},
    "launch": {"take_changes"},
    "chaos": {"take_changes", "checkpoint_steps", "keep_checkpoints", "straggler_k"},
}
# A run that is disturbed for a while has to be long enough.
OTHER_DEFAULTS = {("chaos", "epochs")}


def of_the_orchestrator() -> dict[str, str]:
    """The default of each flag in its --help, as text; a flag without one has its type's zero value."""
    text = subprocess.run(
        [str(program("go-orchestrator")), "--help"], capture_output=True, text=True, check=True
    ).stdout
    flags = re.split(r"^  -", text, flags=re.MULTILINE)[1:]
    return {flag.split()[0]: found[1] if (found := re.search(r"\(default (\S+)\)\s*$", flag)) else "" for flag in flags}


@pytest.mark.parametrize("name", FIELDS)
def test_the_orchestrator_has_the_same_default(name: str) -> None:
    there, here = of_the_orchestrator(), FIELDS[name]
    flag = name.replace("_", "-")
    assert flag in there, f"go-orchestrator has no --{flag}"
    assert type(here)(there[flag] == "true" if isinstance(here, bool) else there[flag] or 0) == here


# Computed and therefore no defaults: a free name, and the best level of the processor.
OF_THE_MACHINE = ("run_dir", "arithmetic")


@pytest.mark.parametrize("command", OWN)
def test_a_command_has_the_same_options_and_defaults(command: str) -> None:
    found = main.get_command(click.Context(main), command)
    assert found is not None
    options = {option.name: option.default for option in found.params if isinstance(option, click.Option)}
    assert {*FIELDS} - {*options} <= OWN[command]
    for name, default in {field.name: field.default for field in dataclasses.fields(Settings)}.items():
        if name in options and (command, name) not in OTHER_DEFAULTS and name not in OF_THE_MACHINE:
            assert options[name] == default, f"{command} --{name}"


def test_a_script_without_a_launcher_has_the_same_defaults() -> None:
    parameters = inspect.signature(join).parameters
    shared = [name for name in FIELDS if name in parameters]
    assert {"epochs", "batch_size", "shards", "seed"} <= {*shared}
    assert {name: parameters[name].default for name in shared} == {name: FIELDS[name] for name in shared}
