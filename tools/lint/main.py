"""`./bazelw run //:lint` checks every source file; `./bazelw run //:format` fixes what a tool can fix. All tools come from the locks.

Prints one line per tool, its findings below it, and finally `N passed, N failed`; exits with 1 if a tool found something.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tools.lint.tools import all_tools, run


def main() -> int:
    """Runs all tools; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fix", action="store_true", help="fix files instead of reporting findings")
    for name in ("buildifier", "gofmt", "ruff", "rustfmt", "shellcheck"):
        parser.add_argument(f"--{name}", type=os.path.abspath, required=True)
    arguments = vars(parser.parse_args())
    fix = arguments.pop("fix")
    folder = os.environ.get("BUILD_WORKSPACE_DIRECTORY")
    if not folder:
        sys.exit("lint: start it with ./bazelw run //:lint, so that it knows the workspace")
    # A tool that can only report is left out of fixing: its `ok` would say that it had checked.
    tools = [tool for tool in all_tools(Path(folder), arguments) if tool.fix or not fix]
    failed = 0
    for tool in tools:
        problem = run(tool, Path(folder), fix)
        failed += bool(problem)
        print(f"{'FAILED' if problem else 'ok    '} {tool.name} ({len(tool.files)} files)", flush=True)
        if problem:
            print(problem, flush=True)
    print(f"{len(tools) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
