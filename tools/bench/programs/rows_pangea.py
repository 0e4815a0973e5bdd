"""Reads the batches of a data service as fast as they arrive."""

import time
from collections.abc import Iterator

from pangea import _native
from pangea.worker.batches import as_tensor
from tools.bench.programs import cores
from tools.bench.programs import job as jobs

_AHEAD = 32


def batches(client: _native.DataClient, epoch: int, batch_size: int) -> Iterator[_native.Batch]:
    """The batches of an epoch; the next ones are always requested ahead."""
    steps = -(-client.dataset().train_samples // batch_size)
    requests: list[tuple[_native.Split, int, int, int, int, int, int]] = [
        ("train", 0, epoch, step, batch_size, 0, 1) for step in range(steps)
    ]
    for request in requests[:_AHEAD]:
        client.prefetch(*request)
    for step, request in enumerate(requests):
        yield client.batch(*request)
        if step + _AHEAD < steps:
            client.prefetch(*requests[step + _AHEAD])


def main() -> None:
    """Reads one epoch to warm up and to check the values, then the timed ones."""
    job = jobs.read()
    client = _native.DataClient(job["data"])
    total, count, read = 0.0, 0, 0
    for batch in batches(client, 0, job["batch_size"]):
        x = as_tensor(batch.features)
        total, count = total + float(x.double().abs().sum()), count + x.numel()
    own, service, started = cores.own(), cores.used([job["service"]]), time.perf_counter()
    for epoch in range(1, job["epochs"] + 1):
        for batch in batches(client, epoch, job["batch_size"]):
            x, y = as_tensor(batch.features), as_tensor(batch.labels)
            assert len(x) == len(y)
            read += len(x)
    seconds = time.perf_counter() - started
    used = {"reader": cores.own() - own, "data service": cores.used([job["service"]]) - service}
    client.close()
    jobs.answer(job, seconds=seconds, rows=read, mean=total / count, cores=used)


if __name__ == "__main__":
    main()
