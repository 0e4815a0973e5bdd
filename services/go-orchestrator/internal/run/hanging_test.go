package run

import (
	"testing"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// The only worker that holds the open step hangs but still sends heartbeats; a newcomer continues
// from a checkpoint, and when the first one is back, the run continues from where that is.
func TestANewcomerDoesNotWaitForAWorkerThatHangs(t *testing.T) {
	b := newBench(t)
	b.join(1)
	b.advance(1, 2)
	b.machine.retention.checkpoints = []ledger.Checkpoint{{Step: 1, File: "c", ParamsHash: hashAt(1)}}
	b.ask(1, 2)
	b.wantShards(1, 0, 1, 2, 3)
	b.join(2)
	b.ask(2, 0)
	for tries := 0; b.loads == 0; tries++ {
		if tries > 60 {
			t.Fatal("the hanging worker is waited for")
		}
		b.beat(1, 2)
	}
	if !b.machine.Status().Workers[0].Hanging {
		t.Fatal("the status does not say that it hangs")
	}
	b.handle(CheckpointLoaded{Checkpoint: b.machine.retention.checkpoints[0], Snapshot: state(1)})
	one[*protocol.Snapshot](b, 2)
	b.ask(2, 1)
	b.wantShards(2, 0, 1, 2, 3)
	// What it now sends is of the step that it holds, and is taken.
	if ack := b.submit(1, b.update(2, 0, 4, 1)); ack.Verdict != protocol.Accepted {
		t.Fatalf("%+v", ack)
	}
	b.ask(1, 2)
	one[*protocol.Aggregate](b, 1)
}

// The same without any checkpoint: the run is recomputed from the initial parameters that the
// newcomer holds.
func TestANewcomerRecomputesWhereNothingElseHoldsTheState(t *testing.T) {
	b := newBench(t)
	b.join(1)
	b.advance(1, 2)
	b.ask(1, 2)
	b.wantShards(1, 0, 1, 2, 3)
	b.join(2)
	b.ask(2, 0)
	b.until(2, 60, 1, 2)
	if lease := one[protocol.Lease](b, 2); lease.Step != 0 {
		t.Fatalf("%+v", lease)
	}
}

// twoAt1 has two workers that hold step 1, and a newcomer that needs its state; the second is asked
// for it.
func twoAt1(t *testing.T) *bench {
	b := newBench(t)
	b.join(1)
	b.join(2)
	b.closeFirst(2)
	b.join(3)
	b.ask(3, 0)
	b.ask(1, 1)
	b.wantShards(1, 0, 1)
	b.ask(2, 1)
	one[protocol.SnapshotRequest](b, 2)
	b.submit(1, b.update(1, 0, 2, 1))
	return b
}

func TestAnotherWorkerIsAskedWhereADonorHangs(t *testing.T) {
	b := twoAt1(t)
	b.ask(1, 1)
	b.until(1, 60, 2, 3)
	one[protocol.SnapshotRequest](b, 1)
	b.handle(SnapshotReceived{Peer: 1, Snapshot: state(1)})
	if got := one[*protocol.Snapshot](b, 3); got.Step != 1 {
		t.Fatalf("%+v", got)
	}
}

// A late state is of use as long as nobody else has sent one.
func TestAStateThatArrivesLateIsAccepted(t *testing.T) {
	b := twoAt1(t)
	for b.machine.retention.donor != nil {
		b.beat(1, 2, 3)
	}
	b.handle(SnapshotReceived{Peer: 2, Snapshot: state(1)})
	if got := one[*protocol.Snapshot](b, 3); got.Step != 1 {
		t.Fatalf("%+v", got)
	}
	if !b.machine.donates(b.machine.roster.find(2)) {
		t.Fatal("it gave its state, and is not asked again")
	}
}

// A larger state has more time, as long as nobody knows how much it takes.
func TestADonorHasTimeByTheSizeOfItsState(t *testing.T) {
	b := newBench(t)
	b.join(1)
	if small := b.machine.donorPatience(); small != leastDonation {
		t.Fatalf("%v for a few bytes", small)
	}
	join := testJoin()
	join.Parameters[0].Shape = []uint64{4 << 20}
	large := newBench(t)
	large.machine.config.MemoryBytes = 1 << 30
	large.handle(JoinRequested{Peer: 1, Join: join})
	if patience := large.machine.donorPatience(); patience < 15*time.Second {
		t.Fatalf("%v for 16 MiB of parameters", patience)
	}
	large.machine.retention.donations.add(2*time.Second, 1)
	if patience := large.machine.donorPatience(); patience != 8*time.Second {
		t.Fatalf("%v where it took 2 s before", patience)
	}
}

// The worker that is asked for the last checkpoint hangs: another one is asked in time.
func TestALastCheckpointIsNotLostToADonorThatHangs(t *testing.T) {
	b := newBench(t)
	b.machine.config.CheckpointSteps = 100
	b.join(1)
	b.ask(1, 0)
	b.checkpoint(1)
	b.join(2)
	b.closeFirst(2)
	for peer := Peer(1); peer <= 2; peer++ {
		b.ask(peer, 1)
		one[protocol.Lease](b, peer)
	}
	b.handle(StopRequested{Reason: "test"})
	b.ask(1, 1)
	one[protocol.SnapshotRequest](b, 1)
	b.ask(2, 1)
	b.until(2, int(2*lastDonation.Seconds()), 1)
	if written := b.checkpoint(2); written.Step != 1 {
		t.Fatalf("%+v", written)
	}
	if b.machine.Saving() {
		t.Fatal("it still waits for a checkpoint")
	}
}

// With nobody left who could give one, the stop is not held up.
func TestAStopDoesNotWaitForWorkersThatAllHang(t *testing.T) {
	b := newBench(t)
	b.machine.config.CheckpointSteps = 100
	b.join(1)
	b.ask(1, 0)
	b.checkpoint(1)
	b.advance(1, 1)
	b.handle(StopRequested{Reason: "test"})
	b.ask(1, 1)
	one[protocol.SnapshotRequest](b, 1)
	for range 5 {
		b.beat(1)
	}
	if b.machine.Saving() {
		t.Fatal("it waits for a worker that hangs")
	}
}
