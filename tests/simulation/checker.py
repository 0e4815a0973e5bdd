"""Decides whether a simulated history kept the promises.

It computes from scratch what an undisturbed run gives, and compares that with everything that was observed. The rules
of the made-up model are implemented here a second time, in numpy; services/go-orchestrator/internal/simulation/model.go
has them in Go.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from pangea.ledger import reader as ledger
from pangea.ledger.audit import Report, audit_ledger, tree_sum

Vector = npt.NDArray[np.float32]
History = dict[str, Any]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def content_hash(data: bytes) -> str:
    """The content hash of one tensor of at most 4 MiB."""
    leaf = xxhash.xxh3_128_digest(data)
    return sha256(b"pangea/content/1\0" + len(data).to_bytes(8, "little") + leaf)


def initial(elements: int) -> Vector:
    """The parameters that every worker begins with."""
    return np.arange(1, elements + 1, dtype=np.float32)


def gradients(seed: int, step: int, weights: list[float], parameters: Vector) -> Vector:
    """Gradient sums of all shards of a step, float32 [shards, elements]."""
    shards, elements = np.arange(len(weights)), np.arange(len(parameters))
    coefficient = ((step * 31 + shards[:, None] * 17 + elements * 7 + seed % 1000) % 97 - 48).astype(np.float32)
    counts = np.array(weights, np.float32)[:, None]
    sums = counts * coefficient * np.float32(0.0078125) + parameters * np.float32(0.001)
    assert sums.dtype == np.float32
    return np.where(counts > 0, sums, np.float32(0))


def add_up(sums: Vector) -> Vector:
    """The sum over the shards in the fixed tree: neighbours first."""
    while len(sums) > 1:
        sums = sums[0::2] + sums[1::2]
    total: Vector = sums[0]
    return total


def apply(parameters: Vector, aggregate: Vector, divisor: float) -> Vector:
    """The optimizer. Where nothing counted, nothing changes."""
    if divisor == 0:
        return parameters
    mean: Vector = np.divide(aggregate, np.float32(divisor), dtype=np.float32)
    return parameters - np.float32(0.01) * mean


def cut(size: int, shards: int, fewest: int) -> list[int]:
    """Samples of each shard of a step: neighbours are merged, two and two, while one has too few."""
    parts = [size * (shard + 1) // shards - size * shard // shards for shard in range(shards)]
    while fewest > 1 and len(parts) > 1 and min(parts) < fewest:
        parts = [parts[i] + parts[i + 1] for i in range(0, len(parts), 2)]
    width = shards // len(parts)
    return [parts[shard // width] if shard % width == 0 else 0 for shard in range(shards)]


def weight(kind: str, step: int, shard: int, samples: int) -> float:
    """What the loss of a shard is a mean over."""
    return float(samples) * float((step * 5 + shard * 3) % 4) * 0.7 if kind == "unequal" else float(samples)


@dataclass(frozen=True)
class Expected:
    """A step of the undisturbed run.

    `samples`, `weights` and `losses` are by shard; `after` are the parameters that it leaves.
    """

    step: int
    epoch: int
    epoch_step: int
    samples: list[int]
    weights: list[float]
    summed: list[bool]
    divisor: float
    losses: list[float]
    batches: list[str]
    before: str
    aggregate: bytes
    after: bytes


def undisturbed(history: History) -> Iterator[Expected]:
    """The run as it must be, whatever happens to it."""
    seed, shards, batch, total = (history[name] for name in ("seed", "shards", "batch_size", "train_samples"))
    parameters = initial(history["elements"])
    kind = history["weights"]
    epoch_steps = total // batch if history["drop_last"] else -(-total // batch)
    for step in range(history["ends_after"]):
        epoch, epoch_step = divmod(step, epoch_steps)
        size = min(batch, total - epoch_step * batch)
        samples = cut(size, shards, history["min_shard_samples"])
        weights = [weight(kind, step, shard, count) for shard, count in enumerate(samples)]
        summed = [kind == "summed" and count > 0 for count in samples]
        divisor = 1.0 if any(summed) else tree_sum(weights)
        losses = [one * float((step + shard) % 7 + 1) / 8 for shard, one in enumerate(weights)]
        batches = [sha256(f"{seed} {epoch} {epoch_step} {shard}".encode()) for shard in range(shards)]
        aggregate = add_up(gradients(seed, step, weights, parameters))
        after = apply(parameters, aggregate, divisor)
        before = content_hash(parameters.tobytes())
        yield Expected(
            step,
            epoch,
            epoch_step,
            samples,
            weights,
            summed,
            divisor,
            losses,
            batches,
            before,
            aggregate.tobytes(),
            after.tobytes(),
        )
        parameters = after


def check(history: History) -> list[str]:
    """What is wrong with a history: nothing, if all promises were kept."""
    wrong = [f"the simulation noticed: {violation}" for violation in history["violations"]]
    steps = list(undisturbed(history))
    report = audit_ledger(io.BytesIO(history["ledger"].encode()))
    if (stop := report.audit.end.stop) is not None:
        # Only the ledger says how far the run was by then; that it ended there, and nowhere else, is for the rest to
        # show.
        steps = steps[: stop.steps]
        if stop.reason not in history.get("stops", []):
            wrong.append(f"the run was stopped after {stop.steps} steps, and no script asked for that: {stop.reason}")
    parameters = [initial(history["elements"]).tobytes(), *(step.after for step in steps)]
    wrong += _check_ledger(history, report, steps, parameters)
    wrong += _check_deliveries(history, steps)
    for after, found in history["hashes"].items():
        if int(after) >= len(parameters) or found != content_hash(parameters[int(after)]):
            wrong.append(
                f"a worker reported parameters {found} after {after} steps, which the undisturbed run does not have"
            )
    if history["final"] != parameters[-1].hex():
        wrong.append("the final parameters are not those of the undisturbed run")
    wrong += _check_metrics(history, steps)
    return wrong


def _check_ledger(history: History, report: Report, steps: list[Expected], parameters: list[bytes]) -> list[str]:
    content = history["ledger"].encode()
    wrong = [f"audit refutes {finding.promise}: {row.detail}" for finding in report.findings for row in finding.rows]
    if not report.audit.findings["chain"].holds:
        return wrong
    audit = report.audit
    settings = audit.settings
    names = ("seed", "shards", "batch_size", "epochs", "min_shard_samples", "drop_last")
    if settings is None or [getattr(settings, name) for name in names] != [history[name] for name in names]:
        wrong.append("the ledger is not of this run")
    if audit.model is None or (audit.model.dataset.train_samples, audit.model.params_hash) != (
        history["train_samples"],
        content_hash(parameters[0]),
    ):
        wrong.append("the ledger's model is not that of this run")
    final = content_hash(parameters[-1])
    if audit.steps != len(steps) or audit.finished is None or audit.finished.params_hash != final:
        wrong.append(f"the ledger ends after {audit.steps} of {len(steps)} steps, or with different parameters")
    heads: dict[int, str] = {}
    acknowledged = {one["bytes"]: one["chain"] for one in history["acknowledged"] or []}
    ends: dict[int, int] = {}  # where the record of a step ends
    entries = list(ledger.Reader(io.BytesIO(content)))
    for entry, end in zip(entries, [*(entry.offset for entry in entries[1:]), len(content)], strict=True):
        heads[end] = entry.chain
        match entry.record:
            case ledger.Step() as step:
                ends[step.step] = end
                wrong += _check_step(step, steps)
            case ledger.Checkpoint() as checkpoint:
                wrong += _check_checkpoint(checkpoint, parameters)
            case ledger.Incident() as incident if not _has_reason(incident, history):
                wrong.append(f"an incident without a reason: {incident.kind}, {incident.detail}")
            case ledger.Incident(kind="quarantine", name=name) if name != "worker-1":
                wrong.append(f"{name} is quarantined, but worker-1 lied")
    for size, chain in acknowledged.items():
        if heads.get(size) != chain:
            wrong.append(f"a commit up to byte {size} was acknowledged, but is no longer in the ledger")
    for delivery in history["deliveries"] or []:
        if ends.get(delivery["step"], len(content) + 1) > delivery["acknowledged"]:
            wrong.append(f"a worker was given the sum of step {delivery['step']} before it was committed")
    named = {entry.record.file: entry.record for entry in entries if isinstance(entry.record, ledger.Checkpoint)}
    for file, data in history["checkpoints"].items():
        if file in named and (
            named[file].sha256 != sha256(bytes.fromhex(data)) or bytes.fromhex(data) != parameters[named[file].step]
        ):
            wrong.append(f"{file} does not hold what the ledger says")
    return wrong


def _has_reason(incident: ledger.Incident, history: dict[str, Any]) -> bool:
    """Whether the world gave a reason for it: worker-1 has faulty memory in some histories, and lies in others."""
    if incident.kind == "divergence":
        return history["flipped"] > 0 and incident.name in ("", "worker-1")
    if incident.kind == "conflict" and history["flipped"] > 0:
        return True  # with wrong parameters, a worker computes other gradients
    return bool(history["lies"]) and incident.kind != "replay"


def _check_step(step: ledger.Step, steps: list[Expected]) -> list[str]:
    if step.step >= len(steps):
        return [f"the ledger has a step {step.step} that the run does not have"]
    expected = steps[step.step]
    shards = [shard for part in step.contributions for shard in part.shards]
    pairs = {
        "aggregate_hash": (step.aggregate_hash, content_hash(expected.aggregate)),
        "params_hash": (step.params_hash, expected.before),
        "place": ((step.epoch, step.epoch_step), (expected.epoch, expected.epoch_step)),
        "samples": (
            (step.samples, [shard.end - shard.start for shard in shards]),
            (sum(expected.samples), expected.samples),
        ),
        "weights": (
            [(shard.weight, shard.summed) for shard in shards],
            list(zip(expected.weights, expected.summed, strict=True)),
        ),
        "divisor": (step.divisor, expected.divisor),
        "losses": ((step.loss_sum, [shard.loss_sum for shard in shards]), (tree_sum(expected.losses), expected.losses)),
        "batches": ([shard.batch_hash for shard in shards], expected.batches),
    }
    return [
        f"step {step.step} of the ledger has the {name} {found}, not {wanted}"
        for name, (found, wanted) in pairs.items()
        if found != wanted
    ]


def _check_checkpoint(checkpoint: ledger.Checkpoint, parameters: list[bytes]) -> list[str]:
    if checkpoint.step >= len(parameters) or checkpoint.params_hash != content_hash(parameters[checkpoint.step]):
        return [f"the checkpoint of step {checkpoint.step} is not of the undisturbed run"]
    return []


def _check_deliveries(history: History, steps: list[Expected]) -> list[str]:
    wrong = []
    for delivery in history["deliveries"] or []:
        data = bytes.fromhex(delivery["aggregate"])
        if delivery["step"] >= len(steps) or data != steps[delivery["step"]].aggregate:
            wrong.append(f"a worker was given a sum of step {delivery['step']} that is not that of the undisturbed run")
        elif delivery["divisor"] != steps[delivery["step"]].divisor:
            wrong.append(
                f"a worker was told to divide step {delivery['step']} by {delivery['divisor']}, but the undisturbed run"
                f" divides by {steps[delivery['step']].divisor}"
            )
        if content_hash(data) != delivery["hash"]:
            wrong.append(f"a worker was given a sum of step {delivery['step']} with a different hash")
    missing = {step.step for step in steps} - {delivery["step"] for delivery in history["deliveries"] or []}
    return [*wrong, *(f"nobody was given the sum of step {step}" for step in sorted(missing))]


def _check_metrics(history: History, steps: list[Expected]) -> list[str]:
    lines = history["metrics"] or []
    if [line["step"] for line in lines] != [step.step for step in steps]:
        return [f"the lines of metrics are of the steps {[line['step'] for line in lines]}"]
    wrong = []
    for line, step in zip(lines, steps, strict=True):
        wanted = {
            "epoch": step.epoch,
            "samples": sum(step.samples),
            "loss": tree_sum(step.losses) / step.divisor if step.divisor else None,
            "aggregate_hash": content_hash(step.aggregate),
            "params_hash": content_hash(step.after),
        }
        wrong += [
            f"the line of step {step.step} has the {name} {line[name]}, not {value}"
            for name, value in wanted.items()
            if line[name] != value
        ]
    return wrong
