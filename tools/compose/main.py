"""`./bazelw run //tools/compose -- up -d`: docker compose, or podman-compose if there is podman, over infra/docker-compose.yaml.

`-- engine` prints which engine that is; PANGEA_ENGINE names another one. Everything after `--` is passed on unchanged: up, ps, logs, kill, down, and their options. Load the images first: ./bazelw run //services/...:..._load, or `make images`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tools.compose.engine import NoEngine, check_compose, find_engine


def main(arguments: list[str]) -> None:
    """Runs the compose tool with these arguments; exits with 1 and a sentence if there is none."""
    try:
        engine = find_engine(os.environ.get("PANGEA_ENGINE", ""))
        check_compose(engine)
    except NoEngine as error:
        sys.exit(f"compose: {error}")
    if arguments == ["engine"]:
        print(engine)
        return
    workspace = Path(os.environ.get("BUILD_WORKSPACE_DIRECTORY", "."))
    words = ["-f", str(workspace / "infra" / "docker-compose.yaml"), *arguments]
    if engine == "docker":
        os.execvp("docker", ["docker", "compose", *words])
    sys.argv = ["podman-compose", *words]
    import podman_compose

    podman_compose.main()


if __name__ == "__main__":
    main(sys.argv[1:])
