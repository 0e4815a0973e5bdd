"""Runs a script with `pangea train`: to its end, or until it interrupts itself."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pangea.places import python_environment

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Ended:
    """What a run has left."""

    code: int
    output: str
    run_dir: Path

    @property
    def result(self) -> dict[str, Any]:
        """result.json, read."""
        return dict(json.loads((self.run_dir / "result.json").read_text()))

    @property
    def hashes(self) -> list[str]:
        """params_hash after each step."""
        lines = [json.loads(line) for line in (self.run_dir / "metrics.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines] == list(range(len(lines))), "a gap in the steps"
        return [line["params_hash"] for line in lines]

    @property
    def weights(self) -> bytes:
        """final.safetensors."""
        return (self.run_dir / "final.safetensors").read_bytes()


def train(run_dir: Path, *arguments: str, **variables: str) -> Ended:
    """`pangea train` with these arguments, and variables in its environment."""
    command = [sys.executable, "-m", "pangea", "train", *arguments]
    ended = subprocess.run(command, env={**python_environment(), **variables}, capture_output=True, text=True, timeout=600, check=False, cwd=run_dir.parent)
    return Ended(ended.returncode, ended.stdout + ended.stderr, run_dir)
