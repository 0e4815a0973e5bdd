"""A clean clone of this workspace: own folder, own output base."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.cache.figures import Figures
from tools.report.events import EventsError, read_record


class BuildError(Exception):
    """A build failed; the message names its log."""


def new_folder(prefix: str) -> Path:
    """Makes a folder for clones, beside the other caches: a workspace may not lie under /tmp."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pangea" / "proofs"
    base.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=prefix, dir=base))


@dataclass(frozen=True)
class Clone:
    """A clone in `folder`. Its output base, logs and records lie beside it, under names that begin with its own.

    Attributes:
        folder: its workspace.
        prefix: a command that executes the Bazel command behind it.
    """

    folder: Path
    prefix: tuple[str, ...] = ()

    @staticmethod
    def make(workspace: Path, folder: Path, prefix: tuple[str, ...] = ()) -> Clone:
        """Clones what is committed in a workspace, without links to it."""
        subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(workspace), str(folder)], check=True)
        return Clone(folder, prefix)

    @property
    def output_base(self) -> Path:
        return self._beside("base")

    @property
    def log(self) -> Path:
        """The output of Bazel, of all builds."""
        return self._beside("log")

    def configure(self, lines: list[str]) -> None:
        """Writes the user.bazelrc."""
        (self.folder / "user.bazelrc").write_text("".join(f"{line}\n" for line in lines))

    def build(self, *arguments: str) -> Figures:
        """Builds, and gives where the actions ran.

        Raises:
            BuildError: the build failed, or left no record of its events.
        """
        events = self._beside("events.json")
        events.unlink(missing_ok=True)
        with self.log.open("a") as output:
            command = self._bazel("build", "--config=ci", f"--build_event_json_file={events}", *arguments)
            code = subprocess.run(
                command, cwd=self.folder, stdout=output, stderr=subprocess.STDOUT, check=False
            ).returncode
        if code != 0:
            raise BuildError(
                f"`{' '.join(command)}` exited with {code}; {self.log} ends with:\n{self.log.read_text()[-4000:]}"
            )
        try:
            return Figures.of(read_record(events))
        except EventsError as error:
            raise BuildError(f"{error}; the build's log is {self.log}") from error

    def clean(self) -> None:
        """Deletes outputs and repositories, and stops the clone's Bazel server; the log stays."""
        subprocess.run(
            self._bazel("clean", "--expunge"),
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        shutil.rmtree(self.output_base, ignore_errors=True)

    def _bazel(self, command: str, *arguments: str) -> list[str]:
        return [*self.prefix, str(self.folder / "bazelw"), f"--output_base={self.output_base}", command, *arguments]

    def _beside(self, suffix: str) -> Path:
        return self.folder.with_name(f"{self.folder.name}.{suffix}")
