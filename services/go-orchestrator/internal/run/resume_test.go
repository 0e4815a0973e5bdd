package run

import (
	"log/slog"
	"testing"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// reopen starts another process on what the bench's ledger holds.
func (b *bench) reopen() {
	b.t.Helper()
	past := Past{Records: ledger.List(b.committed), Lines: uint64(len(b.lines)),
		Checkpoints: func(ledger.Checkpoint) bool { return true }}
	machine, effects, err := Open(b.machine.config, b.now, past)
	if err != nil {
		b.t.Fatal(err)
	}
	b.machine, b.loads = machine, 0
	b.carryOut(effects)
}

// state of the parameters after this many steps.
func state(step uint64) *protocol.Snapshot {
	return protocol.NewSnapshot(step, hashAt(step), [][]byte{{1}}, 1, protocol.Hash{}, func() {})
}

// checkpoint lets a worker that has just been asked for its state give it, and the disk take it.
func (b *bench) checkpoint(peer Peer) ledger.Checkpoint {
	b.t.Helper()
	asked := one[protocol.SnapshotRequest](b, peer)
	b.handle(SnapshotReceived{Peer: peer, Snapshot: state(asked.Step)})
	written := ledger.Checkpoint{Step: asked.Step, File: "c", ParamsHash: hashAt(asked.Step)}
	b.handle(CheckpointWritten{Checkpoint: written})
	return written
}

func (b *bench) wantNoErrors() {
	b.t.Helper()
	for _, note := range b.notes {
		if note.Level >= slog.LevelError {
			b.t.Errorf("an error was logged: %s %v", note.Message, note.Args)
		}
	}
}

// A run that is stopped takes a last checkpoint of the open step; resuming it loads that and
// recomputes nothing.
func TestAfterACleanStopNoStepIsRecomputed(t *testing.T) {
	b := newBench(t)
	b.machine.config.CheckpointSteps = 100
	b.join(1)
	b.ask(1, 0)
	b.checkpoint(1) // of the initial parameters
	b.advance(1, 2)
	b.handle(StopRequested{Reason: "test"})
	b.ask(1, 2)
	written := b.checkpoint(1)
	b.handle(StopRequested{Reason: "test", AtOnce: true})
	b.reopen()
	b.join(2)
	b.ask(2, 0)
	if b.loads != 1 {
		t.Fatalf("%d checkpoints were loaded; want 1", b.loads)
	}
	b.handle(CheckpointLoaded{Checkpoint: written, Snapshot: state(2)})
	if got := one[*protocol.Snapshot](b, 2); got.Step != 2 {
		t.Fatalf("the worker was given step %d; want 2", got.Step)
	}
	b.ask(2, 2)
	b.wantShards(2, 0, 1, 2, 3)
	status, record := b.machine.Status(), b.records[len(b.records)-1]
	for _, from := range []*Resumption{status.ResumedFrom, record.ResumedFrom} {
		if from == nil || *from != (Resumption{Step: 2, File: "c"}) {
			t.Fatalf("resumed from %+v", from)
		}
	}
	if status.RecomputedSteps != 0 || len(b.lines) != 2 {
		t.Fatalf("%d steps were recomputed; %d lines", status.RecomputedSteps, len(b.lines))
	}
	b.wantNoErrors()
}

// The orchestrator knows the hash of the newest checkpoint's parameters, so a worker that holds
// different ones is refused at once.
func TestACheckpointSettlesTheHashAfterTheLastStep(t *testing.T) {
	b := newBench(t)
	b.machine.config.CheckpointSteps = 1
	b.join(1)
	b.ask(1, 0)
	b.checkpoint(1)
	b.advance(1, 1)
	b.ask(1, 1)
	b.checkpoint(1)
	b.reopen()
	back := testJoin()
	back.RunID, back.Step, back.ParametersHash = "test", 1, spoilt
	b.handle(JoinRequested{Peer: 2, Join: back})
	one[protocol.Joined](b, 2)
	b.askWith(2, 1, spoilt)
	if replies := b.take(2); len(replies) != 0 || b.loads != 1 {
		t.Fatalf("a worker with wrong parameters was answered %v, and %d checkpoints were loaded for it", replies, b.loads)
	}
}

// A hash that is not known is not one that differs.
func TestACheckpointWhoseHashNobodyReportedIsLoaded(t *testing.T) {
	b := newBench(t)
	b.join(1)
	b.advance(1, 1)
	b.handle(PeerDisconnected{Peer: 1, Reason: "killed"})
	b.machine.agreement.headHash = nil
	written := ledger.Checkpoint{Step: 1, File: "c", ParamsHash: hashAt(1)}
	b.machine.retention.checkpoints = []ledger.Checkpoint{written}
	b.join(2)
	b.ask(2, 0)
	b.handle(CheckpointLoaded{Checkpoint: written, Snapshot: state(1)})
	one[*protocol.Snapshot](b, 2)
	if len(b.lines) != 1 || b.lines[0].ParamsHash != hashAt(1).String() {
		t.Fatalf("lines: %+v", b.lines)
	}
	b.wantNoErrors()
}

func TestACheckpointWithADifferentHashIsNotLoaded(t *testing.T) {
	b := newBench(t)
	b.join(1)
	b.advance(1, 2)
	b.handle(PeerDisconnected{Peer: 1, Reason: "killed"})
	wrong := ledger.Checkpoint{Step: 1, File: "c", ParamsHash: spoilt}
	b.machine.retention.checkpoints = []ledger.Checkpoint{wrong}
	b.join(2)
	b.ask(2, 0)
	b.handle(CheckpointLoaded{Checkpoint: wrong, Snapshot: state(1)})
	lease := one[protocol.Lease](b, 2)
	if lease.Step != 0 {
		t.Fatalf("%+v", lease)
	}
	if from := b.machine.Status().ResumedFrom; from == nil || *from != (Resumption{StepsAgain: 2}) {
		t.Fatalf("resumed from %+v", from)
	}
}

func TestTheReleaseIsRecordedAtEachStart(t *testing.T) {
	b := newBench(t)
	if starts := recorded[*ledger.Start](b); len(starts) != 1 || starts[0].Release != "" {
		t.Fatalf("%+v", starts)
	}
	b.machine.config.Release = "1.2.3"
	b.reopen()
	if starts := recorded[*ledger.Start](b); len(starts) != 2 || starts[1].Release != "1.2.3" ||
		b.lastRecord().Release != "1.2.3" {
		t.Fatalf("%+v, run.json: %+v", starts, b.lastRecord())
	}
}
