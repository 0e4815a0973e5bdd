"""Trains the examples on a GPU with one worker and with two, and compares their bits, and their speed with DDP + NCCL.

Run it in an environment with the package `pangea` and a torch that has CUDA, from the top of a checkout:

    python -m tools.bench.gpu

It exits with 1 if there is no GPU, or if the bits differ.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from pangea.training.determinism import configure_torch
from pangea.training.devices.settings import describe_device

_PROGRAMS = Path(__file__).with_name("programs")
_ROOT = Path(__file__).parents[2]
# A model of the examples, and the dataset that it is trained on.
_MODELS = {"digits": "digits", "characters": "stdlib"}
_WARM_UP = 20
_SHARDS = 8


@dataclass(frozen=True)
class Measured:
    """What was measured of one training.

    Attributes:
        what: was trained, and how.
        steps_per_second: by the median of the steps after the first ones.
        hash: of the trained parameters; empty for DDP.
    """

    what: str
    steps_per_second: float
    hash: str = ""


@dataclass(frozen=True)
class Options:
    """The options of a comparison."""

    device: str
    batch_size: int
    steps: int


def _environment(options: Options, model: str, **more: str) -> dict[str, str]:
    path = os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "BENCH_DEVICE": options.device, "BENCH_MODEL": model, **more}


def train(options: Options, model: str, workers: int, folder: Path) -> Measured:
    """Trains with Pangea.

    Raises:
        SystemExit: the run has failed; its output is above.
    """
    run_dir = folder / f"{model}-{workers}"
    gpus = torch.cuda.device_count()
    share = 1.0 if gpus >= workers else max(gpus, 1) / workers
    words = [
        *("train", str(_PROGRAMS / "gpu_pangea.py"), "--workers", str(workers), "--dataset", _MODELS[model]),
        *("--batch-size", str(options.batch_size), "--epochs", "1000000", "--run-dir", str(run_dir)),
        *("--checkpoint-seconds", "0", "--shards", str(_SHARDS)),
        *(("--gpus-per-worker", f"{share:g}") if options.device == "cuda" else ()),
    ]
    environment = _environment(options, model, BENCH_STEPS=str(options.steps))
    ended = subprocess.run([sys.executable, "-m", "pangea", *words], env=environment, check=False)
    if ended.returncode != 0:
        raise SystemExit(f"training {model} with {workers} workers exited with {ended.returncode}; see above")
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    seconds = [line["seconds"] for line in lines[_WARM_UP:] or lines]
    return Measured(
        f"{model}, Pangea, {workers} workers", 1 / statistics.median(seconds), str(lines[-1]["params_hash"])
    )


def distributed(options: Options, model: str, parts: int) -> Measured:
    """Trains with DistributedDataParallel, on as many GPUs as there are, at most two: NCCL has one process for each.

    Args:
        options: of the comparison.
        model: one of `_MODELS`.
        parts: in which a batch is computed, over all processes.
    Raises:
        SystemExit: it has failed; its output is above.
    """
    world = min(2, max(1, torch.cuda.device_count()))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    common = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        # Not every build of torch has libuv, and the store is not what is measured.
        "USE_LIBUV": "0",
        "WORLD_SIZE": str(world),
        "BENCH_STEPS": str(options.steps),
        "BENCH_MICRO_BATCHES": str(max(1, parts // world)),
        "BENCH_BATCH_SIZE": str(options.batch_size),
    }
    command = [sys.executable, str(_PROGRAMS / "gpu_ddp.py")]
    processes = [
        subprocess.Popen(
            command, env=_environment(options, model, RANK=str(rank), **common), stdout=subprocess.PIPE, text=True
        )
        for rank in range(world)
    ]
    outputs = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit(f"training {model} with DDP failed; see above")
    return Measured(f"{model}, DDP, {world} processes, batches in {parts}", 1 / json.loads(outputs[0])["seconds"])


def compare(options: Options, folder: Path) -> list[Measured]:
    """Trains every model in every way, and prints each figure when it is there.

    Raises:
        SystemExit: the bits differ between one worker and two.
    """
    found = []
    for model in _MODELS:
        runs = [train(options, model, workers, folder) for workers in (1, 2)]
        for measured in [*runs, distributed(options, model, _SHARDS), distributed(options, model, 1)]:
            print(f"{measured.what}: {measured.steps_per_second:.1f} steps a second {measured.hash[:12]}", flush=True)
            found.append(measured)
        if runs[0].hash != runs[1].hash:
            raise SystemExit(f"{model}: the parameters of one worker and of two differ after {options.steps} steps")
    return found


def main() -> None:
    """Compares, and prints the figures as JSON at the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200, help="steps of each training")
    parser.add_argument("--batch-size", type=int, default=512, help="samples of a step, over all workers")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"], help="cpu only tries the program")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit(
            f"there is no GPU at hand: torch {torch.__version__} finds none (torch.cuda.is_available() is False);"
            " nothing was measured"
        )
    configure_torch()
    with tempfile.TemporaryDirectory() as folder:
        found = compare(Options(given.device, given.batch_size, given.steps), Path(folder))
    hardware = describe_device(torch.device("cuda", 0)) if given.device == "cuda" else "cpu"
    print(json.dumps({"device": hardware, "torch": torch.__version__, "measured": [asdict(each) for each in found]}))


if __name__ == "__main__":
    main()
