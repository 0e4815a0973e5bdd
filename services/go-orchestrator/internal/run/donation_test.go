package run

import (
	"testing"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// donating has one worker at step 1 that was asked for its state and has asked for work since.
func donating(t *testing.T) *bench {
	b := newBench(t)
	b.machine.config.CheckpointSteps = 100
	b.join(1)
	b.ask(1, 0)
	b.checkpoint(1)
	b.advance(1, 1)
	b.handle(CheckpointRequested{Reason: "test"})
	b.ask(1, 1)
	one[protocol.SnapshotRequest](b, 1)
	b.ask(1, 1)
	return b
}

// A worker sends its state beside its work: the run continues, and what arrives is of the step at
// which it was asked for.
func TestADonorWorksWhileItsStateIsOnTheWay(t *testing.T) {
	b := donating(t)
	b.wantShards(1, 0, 1, 2, 3)
	b.submit(1, b.update(1, 0, 4, 1))
	b.ask(1, 1)
	one[*protocol.Aggregate](b, 1)
	b.ask(1, 2)
	b.wantShards(1, 0, 1, 2, 3)
	b.handle(SnapshotReceived{Peer: 1, Snapshot: state(1)})
	if s := b.machine.retention.saving; !s.writing || s.step != 1 || s.wanted {
		t.Fatalf("%+v", s)
	}
	b.wantNoErrors()
}

// The state that is on the way when the process is to stop is of an earlier step: it does not count
// as the last checkpoint.
func TestAStopWaitsForAStateOfItsStep(t *testing.T) {
	b := donating(t)
	b.take(1)
	b.submit(1, b.update(1, 0, 4, 1))
	b.ask(1, 1)
	one[*protocol.Aggregate](b, 1)
	b.ask(1, 2)
	b.take(1)
	b.handle(StopRequested{Reason: "test"})
	b.ask(1, 2)
	b.handle(SnapshotReceived{Peer: 1, Snapshot: state(1)})
	b.handle(CheckpointWritten{Checkpoint: ledger.Checkpoint{Step: 1, File: "a", ParamsHash: hashAt(1)}})
	if !b.machine.Saving() {
		t.Fatal("it does not wait for the last checkpoint")
	}
	if written := b.checkpoint(1); written.Step != 2 || b.machine.Saving() {
		t.Fatalf("%+v", written)
	}
}

// Its state does not arrive, but it works: it is not taken for one that hangs and keeps its shards.
func TestADonorThatWorksIsNotTakenForOneThatHangs(t *testing.T) {
	b := donating(t)
	b.wantShards(1, 0, 1, 2, 3)
	for shard := uint32(0); b.machine.retention.donor != nil; shard++ {
		if shard == 4 {
			t.Fatal("its state is waited for")
		}
		b.beat(1)
		b.beat(1)
		b.submit(1, b.update(1, shard, 1, 1))
	}
	if w := b.machine.roster.find(1); w.hanging || b.machine.donates(w) {
		t.Fatalf("%+v", w)
	}
}

// The run has outpaced the state that a newcomer waits for: the next one is waited for.
func TestANewcomerIsNotOutpacedTwice(t *testing.T) {
	b := newBench(t)
	b.machine.config.KeepBytes, b.machine.config.Settings.Epochs = 0, 3
	b.join(1)
	b.advance(1, 1)
	b.join(2)
	b.ask(2, 0)
	b.ask(1, 1)
	one[protocol.SnapshotRequest](b, 1)
	b.train(1, 1, 5)
	b.take(1)
	b.handle(SnapshotReceived{Peer: 1, Snapshot: state(1)})
	if replies := b.take(2); len(replies) != 0 {
		t.Fatalf("the newcomer got %T", replies[0])
	}
	b.ask(1, 5)
	one[protocol.SnapshotRequest](b, 1)
	b.ask(1, 5)
	if replies := b.take(1); len(replies) != 0 {
		t.Fatalf("the donor got a %T before its state arrived", replies[0])
	}
	b.handle(SnapshotReceived{Peer: 1, Snapshot: state(5)})
	if got := one[*protocol.Snapshot](b, 2); got.Step != 5 {
		t.Fatalf("%+v", got)
	}
	one[protocol.Lease](b, 1)
}
