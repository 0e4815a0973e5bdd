"""A worker that computes nothing: it sends a gradient to the orchestrator and takes the sum."""

import hashlib

import torch

from pangea import _native
from tools.bench.programs import job as jobs
from tools.bench.programs import torch_process
from tools.bench.programs.exchange import timed

_HASH = bytes(32)


def main() -> None:
    """Performs the steps of a run whose dataset has one sample per shard."""
    job = jobs.read()
    rank, world, elements = job["rank"], job["world"], job["elements"]
    torch_process.use_one_thread()
    dataset = _native.DatasetInfo(
        name="nothing",
        hash=_HASH,
        train_samples=world * job["times"],
        held_out_samples=0,
        classes=2,
        features=("float32", (1,)),
        labels=("int64", ()),
    )
    client = _native.OrchestratorClient(job["orchestrator"])
    client.join(
        f"worker-{rank}",
        "bench",
        [("gradient", "float32", (elements,))],
        _hash(0),
        0,
        dataset,
        parameters_content_hash=_hash(0),
    )
    gradient = torch.full((elements,), float(rank + 1))
    # All are present before any asks for work, so that each has a part of every step.
    torch_process.join_gloo(job)
    torch.distributed.barrier()
    shard = -1

    def prepare(step: int) -> None:
        nonlocal shard
        lease = client.request_work(step, _hash(step), 0.0, 0.0, 0.0)
        if not isinstance(lease, _native.ShardLease) or len(lease.shards) != 1:
            raise RuntimeError(f"worker {rank} got {lease} for step {step}, but a lease for one shard was expected")
        [shard] = lease.shards

    def exchange(step: int) -> torch.Tensor:
        verdict, detail = client.submit(step, shard, 1, gradient.numpy(), [(shard, 1, 1.0, _HASH, 1.0, False, "")])
        if verdict != "accepted":
            raise RuntimeError(f"the gradient of step {step} was not accepted ({verdict}): {detail}")
        aggregate = client.request_work(step, _hash(step), 0.0, 0.0, 0.0)
        if not isinstance(aggregate, _native.Aggregate):
            raise RuntimeError(f"worker {rank} got {aggregate} for step {step}, but the sum was expected")
        return torch.frombuffer(aggregate.gradients, dtype=torch.float32)

    timed(job, prepare, exchange)


def _hash(step: int) -> bytes:
    """A stand-in for the hash of the parameters, which all workers would agree on."""
    return hashlib.sha256(step.to_bytes(8, "little")).digest()


if __name__ == "__main__":
    main()
