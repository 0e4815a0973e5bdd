"""The images in this machine's container engine: they are configured as declared, have no rights, and train together.

Not a test target, since an engine is outside the sandbox: ./bazelw run //tests/images. Without an engine everything is
skipped, with the reason.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.images.containers import Containers, load
from tools.compose.engine import NoEngine, find_engine

ROOT = Path(os.environ["RUNFILES_DIR"], "_main")
SERVICES = {
    "go-orchestrator": {"8080/tcp", "8081/tcp"},
    "rust-compute": {"9090/tcp", "9091/tcp"},
    "python-ai-client": {"8082/tcp"},
}
HEALTH = {
    "go-orchestrator": ["/usr/bin/go-orchestrator", "health"],
    "rust-compute": ["/usr/bin/rust-compute", "health"],
    "python-ai-client": ["/usr/bin/pangea", "health"],
}
EPOCHS = 20


def reference(service: str) -> str:
    return f"localhost/pangea/{service}:test"


@pytest.fixture(scope="module")
def containers() -> Iterator[Containers]:
    try:
        engine = find_engine(os.environ.get("PANGEA_ENGINE", ""))
    except NoEngine as error:
        pytest.skip(f"no container was started: {error}")
    for service in SERVICES:
        load(
            ROOT / "tools/images/deliver/deliver_/deliver",
            ROOT / f"services/{service}/{service}_image",
            engine,
            reference(service),
        )
    with Containers(engine, f"pangea-{uuid.uuid4().hex[:8]}") as made:
        yield made


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_declares_how_it_is_run(containers: Containers, service: str) -> None:
    described = containers.inspect(reference(service))
    config = described["Config"]
    assert config["User"] == "65532:65532"
    assert set(config["ExposedPorts"]) == SERVICES[service]
    # Podman has it outside of Config.
    assert {**described, **config}["Healthcheck"]["Test"] == ["CMD", *HEALTH[service]]
    assert config["Labels"]["org.opencontainers.image.title"] == service
    assert described["Created"].startswith("1970-01-01")


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_has_no_shell(containers: Containers, service: str) -> None:
    with pytest.raises(AssertionError, match="sh"):
        containers.call(
            "run",
            "--rm",
            "--entrypoint=/bin/sh",
            *("--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096"),
            reference(service),
            "-c",
            "exit 0",
        )


def test_containers_train_together(containers: Containers, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    # The containers' user does not exist on this machine.
    runs.chmod(0o777)
    volume = (f"--volume={runs}:/runs",)
    seconds = {}

    def started(service: str, image: str, *arguments: str, options: tuple[str, ...] = ()) -> str:
        name = containers.start(service, reference(image), *arguments, options=options)
        seconds[service] = containers.until_healthy(name, *HEALTH[image])
        return name

    # In the network of the test there is nobody else.
    insecure = ("--env=PANGEA_INSECURE=1",)
    started("rust-compute", "rust-compute", options=insecure)
    orchestrator = started(
        "go-orchestrator",
        "go-orchestrator",
        "--listen=0.0.0.0:8080",
        "--http=0.0.0.0:8081",
        "--run-dir=/runs/run",
        f"--epochs={EPOCHS}",
        options=(*volume, *insecure),
    )
    where = (
        "--env=PANGEA_ORCHESTRATOR=go-orchestrator:8080",
        "--env=PANGEA_DATA=rust-compute:9090",
        "--env=PANGEA_RUN_DIR=/runs/run",
        *volume,
    )
    workers = [
        containers.start(name, reference("python-ai-client"), options=where) for name in ("worker-1", "worker-2")
    ]
    seconds["python-ai-client"] = containers.until_healthy(workers[0], *HEALTH["python-ai-client"])
    assert [containers.exit_code(worker) for worker in workers] == [0, 0]

    record = json.loads((runs / "run/run.json").read_text())
    assert record["state"] == "finished" and record["epochs"] == EPOCHS
    assert json.loads((runs / "run/result.json").read_text())["held_out_accuracy"] > 0.8
    audit = containers.start("audit", reference("python-ai-client"), "audit", "/runs/run", options=volume)
    assert containers.exit_code(audit) == 0
    containers.call("kill", "--signal=TERM", orchestrator)
    with capsys.disabled():
        print(
            "\nseconds from start to healthy: "
            + ", ".join(f"{service} {time:.1f}" for service, time in seconds.items())
        )
