package run

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

func TestACheckpointIsTakenAfterCheckpointRequested(t *testing.T) {
	b := newBench(t)
	b.join(1)
	b.advance(1, 1)
	b.ask(1, 1)
	b.wantShards(1, 0, 1, 2, 3)
	b.handle(CheckpointRequested{Reason: "SIGUSR1"})
	b.submit(1, b.update(1, 0, 2, 1))
	b.ask(1, 1)
	if written := b.checkpoint(1); written.Step != 1 {
		t.Fatalf("%+v", written)
	}
	// The run continues, and another request at the same step asks for nothing.
	b.handle(CheckpointRequested{Reason: "SIGUSR1"})
	b.ask(1, 1)
	b.wantShards(1, 2, 3)
}

func TestNoCheckpointIsTakenBeforeTheRunBegins(t *testing.T) {
	b := newBench(t)
	b.handle(CheckpointRequested{Reason: "SIGUSR1"})
	b.join(1)
	b.ask(1, 0)
	b.wantShards(1, 0, 1, 2, 3)
}

// The stop arrives while the checkpoint of an earlier step is still being written: that one does
// not count as the last.
func TestALastCheckpointFollowsTheOneThatIsBeingWritten(t *testing.T) {
	b := newBench(t)
	b.machine.config.CheckpointSteps = 100
	b.join(1)
	b.ask(1, 0)
	one[protocol.SnapshotRequest](b, 1)
	b.handle(SnapshotReceived{Peer: 1, Snapshot: state(0)})
	b.advance(1, 1)
	b.handle(StopRequested{Reason: "test"})
	b.ask(1, 1)
	if replies := b.take(1); len(replies) != 0 {
		t.Fatalf("two checkpoints are written at a time: %v", replies[0])
	}
	b.handle(CheckpointWritten{Checkpoint: ledger.Checkpoint{Step: 0, File: "a", ParamsHash: hashAt(0)}})
	if !b.machine.Saving() {
		t.Fatal("it does not wait for the last one")
	}
	if written := b.checkpoint(1); written.Step != 1 || b.machine.Saving() {
		t.Fatalf("%+v", written)
	}
}

func TestACheckpointThatCannotBeWrittenIsReportedUntilOneIs(t *testing.T) {
	b := newBench(t)
	b.machine.config.CheckpointSteps = 1
	b.join(1)
	b.ask(1, 0)
	one[protocol.SnapshotRequest](b, 1)
	b.handle(SnapshotReceived{Peer: 1, Snapshot: state(0)})
	b.handle(CheckpointWritten{Checkpoint: ledger.Checkpoint{Step: 0}, Err: errors.New("no space left on device")})
	for _, said := range []string{b.machine.Status().CheckpointError, b.lastRecord().CheckpointError} {
		if !strings.Contains(said, "step 0") || !strings.Contains(said, "no space left on device") {
			t.Fatalf("%q", said)
		}
	}
	b.advance(1, 1)
	b.ask(1, 1)
	b.checkpoint(1)
	if status, record := b.machine.Status(), b.lastRecord(); status.CheckpointError != "" || record.CheckpointError != "" {
		t.Fatalf("%+v %+v", status, record)
	}
}

// At the end of the run the others stay until the last checkpoint is on its way: the worker that
// was asked for it may hang.
func TestTheLastCheckpointOfARunIsNotLostToADonorThatHangs(t *testing.T) {
	b := newBench(t)
	b.machine.config.CheckpointSteps = 100
	b.join(1)
	b.ask(1, 0)
	b.checkpoint(1)
	b.join(2)
	b.closeFirst(2)
	b.ask(1, 1)
	b.take(1)
	b.askStop(2, 1, "patience")
	one[protocol.SnapshotRequest](b, 2)
	b.ask(1, 1)
	if replies := b.take(1); len(replies) != 0 {
		t.Fatalf("the other one was told %v", replies[0])
	}
	b.until(1, 5, 2)
	if written := b.checkpoint(1); written.Step != 1 {
		t.Fatalf("%+v", written)
	}
	b.ask(1, 1)
	b.wantStopped(1, 1, "patience")
}

// The only state of the run is that of a checkpoint which is not on the disk yet: a worker that
// needs it waits, until it is there or cannot be written.
func TestAWorkerWaitsForTheCheckpointThatIsBeingWritten(t *testing.T) {
	for _, err := range []error{nil, errors.New("no space left on device")} {
		b := newBench(t)
		b.machine.config.CheckpointSteps = 100
		b.join(1)
		b.ask(1, 0)
		one[protocol.SnapshotRequest](b, 1)
		b.handle(SnapshotReceived{Peer: 1, Snapshot: state(0)})
		b.advance(1, 4)
		b.handle(PeerDisconnected{Peer: 1})
		b.back(2, 0)
		b.askWith(2, 0, spoilt)
		if replies := b.take(2); len(replies) != 0 {
			t.Fatalf("it was not kept waiting: %v", replies[0])
		}
		b.handle(CheckpointWritten{Checkpoint: ledger.Checkpoint{Step: 0, File: "a", ParamsHash: hashAt(0)}, Err: err})
		if err == nil && b.loads != 1 {
			t.Fatal("the checkpoint is not loaded for it")
		}
		if err != nil {
			if refused := one[*protocol.Error](b, 2); refused.Action != protocol.Stop {
				t.Fatalf("%+v", refused)
			}
		}
	}
}

// The run went back to a step that has a checkpoint, and took it again: pruning must not delete it.
func TestACheckpointThatIsWrittenAgainIsNotRemoved(t *testing.T) {
	b := newBench(t)
	b.machine.config.KeepCheckpoints = 2
	b.join(1)
	var removed []string
	for _, step := range []uint64{0, 1, 1, 1} {
		written := ledger.Checkpoint{Step: step, File: fmt.Sprint("step-", step), ParamsHash: hashAt(step)}
		for _, effect := range b.machine.Handle(b.now, CheckpointWritten{Checkpoint: written}) {
			if e, is := effect.(RemoveCheckpoint); is {
				removed = append(removed, e.Checkpoint.File)
			}
		}
	}
	if len(removed) != 0 || len(b.machine.retention.checkpoints) != 2 {
		t.Fatalf("removed %v; %+v are left", removed, b.machine.retention.checkpoints)
	}
}
