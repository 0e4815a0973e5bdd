"""The seven steps."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass

from tools.setup.commands import Commands, StepFailed, tail
from tools.setup.stack import Deployed, Stack

# Target -> file.
DATA_SETS = {"digits": "digits.csv.gz", "stdlib": "stdlib.txt.gz"}


@dataclass(frozen=True)
class Step:
    """One step: its name, and what it does. `run` returns a sentence about the result."""

    name: str
    run: Callable[[], str]


class SevenSteps:
    """The steps for one stack. They are called in order; a step that needs an earlier one says so."""

    def __init__(self, commands: Commands, stack: Stack, show: Callable[[str], None]) -> None:
        self._commands, self._stack, self._show = commands, stack, show
        self._deployed: Deployed | None = None

    def steps(self) -> list[Step]:
        """All of them."""
        return [
            Step("validate the machine", self.validate),
            Step("make the test data", self.make_data),
            Step(f"build the {self._stack.parts}", self.build),
            Step("deploy the stack", self.deploy),
            Step("run the end-to-end test", self.test),
            Step("show the logs", self.logs),
            Step("clean up", self.clean_up),
        ]

    def validate(self) -> str:
        """Runs `./bazelw doctor`, and checks what this kind of stack needs."""
        self._commands.run("doctor", ["./bazelw", "doctor"])
        return self._stack.validate()

    def make_data(self) -> str:
        """Builds the datasets, and reads them as the data service would."""
        self._commands.run(
            "data", ["./bazelw", "build", *(f"//services/python-ai-client:{name}" for name in DATA_SETS)]
        )
        sizes = []
        for name in DATA_SETS.values():
            with gzip.open(
                self._commands.workspace / "bazel-bin/services/python-ai-client/pangea/data" / name, "rb"
            ) as stream:
                sizes.append(f"{name}: {sum(1 for _ in stream):,} lines")
        return ", ".join(sizes)

    def build(self) -> str:
        """Builds what the stack consists of."""
        return self._stack.build()

    def deploy(self) -> str:
        """Starts the stack."""
        self._deployed = self._stack.deploy()
        return f"orchestrator at http://{self._deployed.orchestrator}/status, data service at http://{self._deployed.data}/metrics, files in {self._deployed.run_dir}"

    def test(self) -> str:
        """Kills processes of the stack while it trains; compares its bits with those of a run on this machine."""
        if self._deployed is None:
            raise StepFailed("there is no stack to test; step 4 deploys it")
        log = self._commands.run(
            "e2e",
            ["./bazelw", "run", "//tests/e2e"],
            PANGEA_STACK_RUN_DIR=str(self._deployed.run_dir),
            PANGEA_STACK_ORCHESTRATOR=self._deployed.orchestrator,
            PANGEA_STACK_DATA=self._deployed.data,
            PANGEA_STACK_ARITHMETIC=self._deployed.arithmetic,
            PANGEA_STACK_KILLS="\n".join(self._deployed.kills),
        )
        return tail(log, 1).strip("= ")

    def logs(self) -> str:
        """Shows the logs of the stack's processes."""
        if self._deployed is None:
            raise StepFailed("there is no stack whose logs could be shown; step 4 deploys it")
        self._show(self._stack.logs())
        return "the newest lines of each process"

    def clean_up(self) -> str:
        """Removes everything that the earlier steps have deployed."""
        self._stack.remove()
        return "no process and no file of this call's stack is left"


def chosen(text: str, count: int) -> list[int]:
    """`1-3,5` as numbers of steps, sorted.

    Raises:
        ValueError: it is not such a list, or names a step that does not exist.
    """
    numbers: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise ValueError(f"{part!r} is not a step; write them like 1-3,5")
        span = range(int(first), int(last or first) + 1)
        if not span or span[0] < 1 or span[-1] > count:
            raise ValueError(f"{part!r} names steps that do not exist; there are 1 to {count}")
        numbers.update(span)
    return sorted(numbers)
