"""Writes docs/reference/api.md into the workspace."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tools.api_reference.page import page
from tools.api_reference.public import load, names

PAGE = "docs/reference/api.md"


def main() -> None:
    """Reads the sources of the workspace that `bazel run` was called in."""
    root = Path(os.environ.get("BUILD_WORKSPACE_DIRECTORY", "."))
    (root / PAGE).write_text(page(names(load(root / "services/python-ai-client"))))
    print(f"{PAGE} is written", file=sys.stderr)


if __name__ == "__main__":
    main()
