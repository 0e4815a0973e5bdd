package run

import (
	"testing"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// stateOf is a state with bytes of its own.
func stateOf(step uint64, content byte) *protocol.Snapshot {
	return protocol.NewSnapshot(step, hashAt(step), [][]byte{{content}}, 1, protocol.Hash{content}, func() {})
}

// offered lets worker 1 give its state to worker 2.
func offered(t *testing.T) *bench {
	t.Helper()
	b := newBench(t)
	b.machine.config.Settings.Epochs = 3
	b.join(1)
	b.advance(1, 1)
	b.join(2)
	b.ask(2, 0)
	b.ask(1, 1)
	one[protocol.SnapshotRequest](b, 1)
	b.handle(SnapshotReceived{Peer: 1, Snapshot: stateOf(1, 7)})
	one[*protocol.Snapshot](b, 2)
	return b
}

func TestAStateThatCannotBeLoadedIsNotSentAgain(t *testing.T) {
	b := offered(t)
	b.machine.retention.addCheckpoint(ledger.Checkpoint{Step: 1, File: "a", SHA256: protocol.Hash{7}})
	b.machine.retention.addCheckpoint(ledger.Checkpoint{Step: 2, File: "b", SHA256: protocol.Hash{8}})
	b.handle(LeaveRequested{Peer: 2, Leave: protocol.Leave{Reason: "r", CannotLoad: true}})
	if r := b.machine.retention; r.snapshot != nil || len(r.checkpoints) != 1 || r.checkpoints[0].File != "b" {
		t.Fatalf("%+v is kept", r)
	}
	if !b.machine.roster.find(1).cannotDonate {
		t.Fatal("the donor is asked again")
	}
}

func TestAWorkerThatCannotLoadAGoodStateTakesNothingAway(t *testing.T) {
	b := offered(t)
	b.ask(2, 1)
	b.join(3)
	b.ask(3, 0)
	one[*protocol.Snapshot](b, 3)
	b.handle(LeaveRequested{Peer: 3, Leave: protocol.Leave{Reason: "r", CannotLoad: true}})
	if b.machine.retention.snapshot == nil || b.machine.roster.find(1).cannotDonate {
		t.Fatal("a worker that complains takes a good state away")
	}
}

func TestOnlyWhoWasSentAStateCanComplain(t *testing.T) {
	b := offered(t)
	b.handle(LeaveRequested{Peer: 1, Leave: protocol.Leave{Reason: "r", CannotLoad: true}})
	if b.machine.retention.snapshot == nil {
		t.Fatal("a state is dropped for a worker that was not sent it")
	}
}

// The parameters in it are not those that its sender says: it is neither kept nor written down.
func TestAStateThatIsNotWhatItsSenderSaysIsNotUsed(t *testing.T) {
	b := newBench(t)
	b.machine.config.Settings.Epochs = 3
	b.join(1)
	b.advance(1, 1)
	b.join(2)
	b.ask(2, 0)
	b.ask(1, 1)
	one[protocol.SnapshotRequest](b, 1)
	b.machine.retention.saving.want(1)
	b.handle(SnapshotReceived{Peer: 1, Snapshot: stateOf(1, 7), Wrong: "another hash"})
	if replies := b.take(2); len(replies) != 0 {
		t.Fatalf("the newcomer got %T", replies[0])
	}
	if b.machine.retention.saving.writing || !b.machine.roster.find(1).cannotDonate {
		t.Fatalf("%+v", b.machine.retention.saving)
	}
}
