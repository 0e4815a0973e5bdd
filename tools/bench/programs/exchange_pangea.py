"""A worker that computes nothing: it sends a gradient to the orchestrator and takes the sum. It does not load torch,
which takes seconds."""

import hashlib

import numpy

from pangea import _native
from tools.bench.programs import job as jobs
from tools.bench.programs.barrier import Barrier
from tools.bench.programs.exchange import Vector, timed

_HASH = bytes(32)


def main() -> None:
    """Performs the steps of a run whose dataset has one sample per shard."""
    job = jobs.read()
    rank, world, elements = job["rank"], job["world"], job["elements"]
    # One shard a worker, or several neighbours whose sum one worker sends.
    share = job["shards"] // world
    dataset = _native.DatasetInfo(
        name="nothing",
        hash=_HASH,
        train_samples=job["shards"] * job["times"],
        held_out_samples=0,
        classes=2,
        features=("float32", (1,)),
        labels=("int64", ()),
    )
    client = _native.OrchestratorClient(job["orchestrator"], identity=job["identity"])
    client.join(
        f"worker-{rank}",
        "bench",
        [("gradient", "float32", (elements,))],
        _hash(0),
        0,
        dataset,
        parameters_content_hash=_hash(0),
    )
    if client.shares_memory() != job["shares_memory"]:
        raise RuntimeError(f"worker {rank} does not reach {job['orchestrator']} through {job['transport']}")
    # The worker's own memory: the client copies it to where it is shared.
    gradient: Vector = numpy.empty(elements, numpy.float32)
    # All are present before any asks for work, so that each has a part of every step.
    barrier = Barrier(job)
    shards: list[int] = []

    def prepare(step: int) -> None:
        gradient.fill(rank + 1)
        lease = client.request_work(step, _hash(step), 0.0, 0.0, 0.0)
        if not isinstance(lease, _native.ShardLease) or len(lease.shards) != share:
            raise RuntimeError(
                f"worker {rank} got {lease} for step {step}, but a lease for {share} shards was expected"
            )
        shards[:] = lease.shards

    def exchange(step: int) -> Vector:
        reports = [(shard, 1, 1.0, _HASH, 1.0, False, "", ()) for shard in shards]
        sums = [(step, shards[0], share, gradient, reports, None)]
        [(verdict, detail)] = client.submit_and_ask(sums, step, _hash(step), 0.0, 0.0, 0.0)
        if verdict != "accepted":
            raise RuntimeError(f"the gradient of step {step} was not accepted ({verdict}): {detail}")
        aggregate = client.answer()
        if not isinstance(aggregate, _native.Aggregate):
            raise RuntimeError(f"worker {rank} got {aggregate} for step {step}, but the sum was expected")
        received: Vector = numpy.frombuffer(aggregate.gradients, numpy.float32).reshape(gradient.size)
        return received

    timed(job, barrier, prepare, exchange, transport=job["transport"])


def _hash(step: int) -> bytes:
    """A stand-in for the hash of the parameters, which all workers would agree on."""
    return hashlib.sha256(step.to_bytes(8, "little")).digest()


if __name__ == "__main__":
    main()
