"""The reader returns what was committed, and detects every truncation and every flipped byte."""

import dataclasses
import io
import math

import pytest

from pangea.ledger import reader as ledger
from pangea.ledger.fixtures import TIME, digest, incident, records_of, run, without_weights, written
from pangea.ledger.reader import LedgerDamaged, Reader


def read(content: bytes) -> list[ledger.Entry]:
    return list(Reader(io.BytesIO(content)))


def test_entries_have_their_records_and_places() -> None:
    content = written(run())
    entries = read(content)
    assert [type(entry.record).__name__.lower() for entry in entries] == [record["type"] for record in run()]
    assert all(content[entry.offset :].startswith(b'{"chain":"' + entry.chain.encode()) for entry in entries)
    assert all(
        content.splitlines()[entry.line - 1].startswith(b'{"chain":"' + entry.chain.encode()) for entry in entries
    )
    settings, step = entries[0].record, entries[5].record
    assert settings == ledger.Settings(3, "sample", 7, 4, 10, 2, 0, False, "xxh3Tree")
    assert isinstance(step, ledger.Step)
    assert [(part.first, part.count, part.worker) for part in step.contributions] == [(0, 2, 1), (2, 1, 2), (3, 1, 1)]
    assert [(shard.start, shard.end) for part in step.contributions for shard in part.shards] == [
        (0, 2),
        (2, 5),
        (5, 7),
        (7, 10),
    ]
    with pytest.raises(dataclasses.FrozenInstanceError):
        step.step = 1  # type: ignore[misc]


def test_fields_that_format_1_lacks_have_their_defaults() -> None:
    entries = read(written([without_weights(record) for record in run()]))
    settings, model, step = entries[0].record, entries[2].record, entries[5].record
    assert isinstance(settings, ledger.Settings) and isinstance(model, ledger.Model) and isinstance(step, ledger.Step)
    assert (settings.format, settings.min_shard_samples, settings.drop_last) == (1, 0, False)
    assert (model.training, model.arithmetic, model.fingerprints) == ("", "", {})
    assert step.divisor is None and {shard.weight for part in step.contributions for shard in part.shards} == {None}


def test_the_fields_of_format_2_are_read() -> None:
    records = run()
    records[2].update(training='{"lr":0.1}', arithmetic="avx2", fingerprints={"matmul": digest("m")})
    records[5]["contributions"][0]["shards"][1]["summed"] = True
    records += [
        {"type": "stop", "steps": 6, "reason": "enough", "worker": 1, "name": "w", "time": TIME},
        {"type": "change", "what": "epochs", "from": "2", "to": "3", "step": 6, "time": TIME},
        incident("conflict", 5, 1, 2, (0, 1)),
    ]
    entries = read(written(records))
    model, step = entries[2].record, entries[5].record
    assert isinstance(model, ledger.Model) and isinstance(step, ledger.Step)
    assert (model.training, model.arithmetic, model.fingerprints) == ('{"lr":0.1}', "avx2", {"matmul": digest("m")})
    assert step.divisor == 7.5
    assert [shard.summed for part in step.contributions for shard in part.shards] == [False, True, False, False]
    assert entries[-3].record == ledger.Stop(6, "enough", 1, "w", TIME)
    assert entries[-2].record == ledger.Change("epochs", "2", "3", 6, TIME)
    assert isinstance(last := entries[-1].record, ledger.Incident) and last.other == 2


def test_null_is_a_loss_that_is_not_a_number() -> None:
    records = run()
    records[5]["loss_sum"] = None
    step = read(written(records))[5].record
    assert isinstance(step, ledger.Step)
    assert math.isnan(step.loss_sum)


def test_every_truncation_is_detected() -> None:
    content = written(run()[:7])
    slots = ledger.slot_line(0, ledger.Slot(0, ledger.RECORDS_FROM, ledger.NO_CHAIN))
    for size in range(1, len(content)):
        if slots.startswith(content[:size]):
            continue  # A crash while the ledger is created leaves this.
        with pytest.raises(LedgerDamaged):
            read(content[:size])


def test_every_flipped_byte_is_detected() -> None:
    content = written(run()[:7])
    whole = read(content)
    for at in range(len(content)):
        flipped = bytearray(content)
        flipped[at] ^= 1 << at % 8
        reader = Reader(io.BytesIO(bytes(flipped)))
        if at < ledger.RECORDS_FROM:
            assert [(entry.chain, entry.record) for entry in reader] == [(entry.chain, entry.record) for entry in whole]
            assert reader.invalid_slots == (at // ledger.SLOT_BYTES,)
            continue
        with pytest.raises(LedgerDamaged) as damaged:
            list(reader)
        hit = next(entry for entry in reversed(whole) if entry.offset <= at)
        assert (damaged.value.record, damaged.value.offset) == (hit.number, hit.offset)


def test_records_that_are_not_committed_are_marked() -> None:
    content, longer = written(run()[:-1]), written(run())
    for size in range(len(content), len(longer)):
        torn = content + longer[len(content) : size]
        reader = Reader(io.BytesIO(torn))
        assert len(list(reader)) == len(run()) - 1
        assert reader.trailing_bytes == size - len(content)
    entries = read(content + longer[len(content) :])
    assert [entry.committed for entry in entries] == [True] * (len(run()) - 1) + [False]


def test_line_feeds_that_were_written_ahead_are_no_rest_of_a_write() -> None:
    content = written(run())
    for rest, trailing in ((b"\n" * 70_000, 0), (b"\n" * 3 + b'{"cha' + b"\n" * 70_000, 8), (b"\n", 0)):
        reader = Reader(io.BytesIO(content + rest))
        assert len(list(reader)) == len(run())
        assert reader.trailing_bytes == trailing


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"type": "surprise"}, "the record type 'surprise' is unknown"),
        ({"shards": -1}, "the field 'shards': -1 is not a count"),
        ({"shards": True}, "True is not a count"),
        ({"run_id": 3}, "the field 'run_id': 3 is not a string"),
        ({"drop_last": 0}, "the field 'drop_last': 0 is neither true nor false"),
    ],
)
def test_malformed_records_are_refused(change: dict[str, object], reason: str) -> None:
    records = run()
    records[0].update(change)
    with pytest.raises(LedgerDamaged, match=reason):
        read(written(records))


def test_a_missing_field_is_named() -> None:
    records = run()
    del records[5]["contributions"][1]["shards"][0]["to"]
    with pytest.raises(LedgerDamaged, match=r"record 5 .*'contributions'.*'shards'.*'to' is missing"):
        read(written(records))


def test_slots_that_do_not_match_the_records_are_refused() -> None:
    content = written(run())
    reader = Reader(io.BytesIO(content))
    list(reader)
    for slot in (
        ledger.Slot(reader.records - 1, len(content), reader.head),
        ledger.Slot(reader.records, len(content) - 1, reader.head),
        ledger.Slot(reader.records, len(content), ledger.NO_CHAIN),
    ):
        with pytest.raises(LedgerDamaged, match="slot"):
            read(content[: ledger.SLOT_BYTES] + ledger.slot_line(1, slot) + content[ledger.RECORDS_FROM :])


def test_fixtures_read_back_what_they_wrote() -> None:
    assert records_of(written(run())) == run()
