"""A clean clone of this workspace: own folder, own output base."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.cache.figures import Figures
from tools.report.events import EventsError, read_record


class BuildError(Exception):
    """A build did not end as it must; the message names its log."""


@dataclass(frozen=True)
class Clone:
    """A clone in `folder`; everything of it lies beside it, under names that begin with its own.

    Attributes:
        folder: its workspace.
        prefix: a command that becomes the Bazel command which follows it.
    """

    folder: Path
    prefix: tuple[str, ...] = ()

    @staticmethod
    def make(workspace: Path, folder: Path, prefix: tuple[str, ...] = ()) -> Clone:
        """Clones what is committed in a workspace; no link leads back to it."""
        subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(workspace), str(folder)], check=True)
        return Clone(folder, prefix)

    @property
    def output_base(self) -> Path:
        return self._beside("base")

    @property
    def log(self) -> Path:
        """What Bazel has said, of all builds."""
        return self._beside("log")

    def configure(self, lines: list[str]) -> None:
        """Writes the user.bazelrc."""
        (self.folder / "user.bazelrc").write_text("".join(f"{line}\n" for line in lines))

    def build(self, *arguments: str) -> Figures:
        """Builds, and tells where the actions ran.

        Raises:
            BuildError: the build failed, or told nothing of itself.
        """
        events = self._beside("events.json")
        events.unlink(missing_ok=True)
        with self.log.open("a") as output:
            command = self._bazel("build", "--config=ci", f"--build_event_json_file={events}", *arguments)
            code = subprocess.run(command, cwd=self.folder, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
        if code != 0:
            raise BuildError(f"`{' '.join(command)}` exited with {code}; {self.log} ends with:\n{self.log.read_text()[-4000:]}")
        try:
            return Figures.of(read_record(events))
        except EventsError as error:
            raise BuildError(f"{error}; the build's log is {self.log}") from error

    def clean(self) -> None:
        """Deletes results and repositories, and ends the clone's Bazel; the log stays."""
        subprocess.run(self._bazel("clean", "--expunge"), cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(self.output_base, ignore_errors=True)

    def _bazel(self, command: str, *arguments: str) -> list[str]:
        return [*self.prefix, str(self.folder / "bazelw"), f"--output_base={self.output_base}", command, *arguments]

    def _beside(self, suffix: str) -> Path:
        return self.folder.with_name(f"{self.folder.name}.{suffix}")
