package run

import (
	"testing"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// The worker that computes dies while another one, which is too late for the open step but holds
// verified parameters, is silent: it must not be sent away, because it is the only one that the run
// can continue with.
func TestASilentWorkerWithVerifiedParametersIsWaitedFor(t *testing.T) {
	b := newBench(t)
	b.join(1)
	b.ask(1, 0)
	b.wantShards(1, 0, 1, 2, 3)
	if ack := b.submit(1, b.update(0, 0, 4, 1)); ack.Verdict != protocol.Accepted {
		t.Fatalf("%+v", ack)
	}
	b.ask(1, 0)
	one[*protocol.Aggregate](b, 1)
	b.ask(1, 1)
	b.wantShards(1, 0, 1, 2, 3)
	late := testJoin()
	late.WorkerName, late.Heartbeat = "late", 100*time.Millisecond
	b.handle(JoinRequested{Peer: 2, Join: late})
	one[protocol.Joined](b, 2)
	b.ask(2, 0)
	b.handle(Tick{}) // a second without a heartbeat
	b.handle(PeerDisconnected{Peer: 1, Reason: "killed"})
	if replies := b.take(2); len(replies) != 0 {
		t.Fatalf("a silent worker was answered: %v", replies[0])
	}
	b.handle(PeerSeen{Peer: 2})
	lease := one[protocol.Lease](b, 2)
	if lease.Step != 0 || len(lease.Shards) != 4 {
		t.Fatalf("%+v; want all shards of step 0", lease)
	}
}

// All workers die and a new one joins: the checkpoint is read once, and its memory is released when
// the run has moved on.
func TestACheckpointIsLoadedOnce(t *testing.T) {
	b := newBench(t)
	b.join(1)
	b.advance(1, 1)
	b.machine.retention.checkpoints = []ledger.Checkpoint{{Step: 1, File: "c", ParamsHash: hashAt(1)}}
	b.ask(1, 1)
	b.wantShards(1, 0, 1, 2, 3)
	b.submit(1, b.update(1, 0, 4, 1))
	b.ask(1, 1)
	b.take(1)
	b.ask(1, 2)
	b.take(1)
	b.handle(PeerDisconnected{Peer: 1, Reason: "killed"})
	b.join(2)
	b.ask(2, 0)
	if b.loads != 1 {
		t.Fatalf("%d checkpoints are loaded; want 1", b.loads)
	}
	freed := 0
	b.handle(CheckpointLoaded{Checkpoint: b.machine.retention.checkpoints[0],
		Snapshot: protocol.NewSnapshot(1, hashAt(1), [][]byte{{1}}, 1, protocol.Hash{}, func() { freed++ })})
	one[*protocol.Snapshot](b, 2)
	b.handle(Tick{})
	b.ask(2, 1)
	b.wantShards(2, 0, 1, 2, 3)
	if b.loads != 1 {
		t.Fatalf("the checkpoint was loaded %d times", b.loads)
	}
	b.handle(StopRequested{AtOnce: true})
	b.machine.retention.dropSnapshot()
	if freed != 1 {
		t.Fatalf("its memory was given back %d times", freed)
	}
}

// An orchestrator that is killed more often than a checkpoint is due still takes one after each
// start.
func TestAfterARestartACheckpointByTimeIsTakenWithTheNextStep(t *testing.T) {
	b := newBench(t)
	b.join(1)
	b.advance(1, 1)
	config := b.machine.config
	config.CheckpointEvery = time.Hour
	machine, _, err := Open(config, b.now, Past{Records: ledger.List(b.committed)})
	if err != nil {
		t.Fatal(err)
	}
	b.machine = machine
	back := testJoin()
	back.RunID, back.Step, back.ParametersHash = "test", 1, hashAt(1)
	b.handle(JoinRequested{Peer: 2, Join: back})
	one[protocol.Joined](b, 2)
	b.ask(2, 1)
	b.wantShards(2, 0, 1, 2, 3)
	b.submit(2, b.update(1, 0, 4, 1))
	b.ask(2, 1)
	one[*protocol.Aggregate](b, 2)
	b.ask(2, 2)
	if asked := one[protocol.SnapshotRequest](b, 2); asked.Step != 2 {
		t.Fatalf("%+v", asked)
	}
}
