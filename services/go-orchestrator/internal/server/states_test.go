package server_test

import (
	"strings"
	"testing"

	"capnproto.org/go/capnp/v3"

	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/run"
	"pangea.example/pangea/services/go-orchestrator/internal/tree"
	"pangea.example/pangea/services/go-orchestrator/internal/wiretest"
)

func TestACheckpointIsTakenOnRequest(t *testing.T) {
	s := start(t, 100)
	w := connect(t, s.address)
	if reply, err := w.ask(wiretest.Join(initialJoin())); err != nil {
		t.Fatal(reply, err)
	}
	parameters, content := stateAt(0)
	work := wiretest.Work(protocol.Work{ParametersHash: parameters})
	if reply, err := w.ask(work); err != nil {
		t.Fatal(reply, err)
	}
	s.Checkpoint("a test")
	reply, err := w.ask(work)
	if asked, is := reply.(protocol.SnapshotRequest); err != nil || !is || asked.Step != 0 {
		t.Fatalf("%T %v", reply, err)
	}
	if err := w.send(wiretest.Snapshot(0, parameters, content, 4000)...); err != nil {
		t.Fatal(err)
	}
	// It cannot be written in these tests, and the run continues.
	if reply, err := w.ask(work); err != nil {
		t.Fatal(reply, err)
	}
	for status := (run.Status{}); status.CheckpointError == ""; {
		if status, err = s.Status(t.Context()); err != nil || status.State != run.Running {
			t.Fatalf("%+v, %v", status, err)
		}
	}
}

// What a donor gives is not written down, and not given to anybody, before it was looked at.
func TestAStateThatIsNotWhatItsSenderSaysIsNoCheckpoint(t *testing.T) {
	s := start(t, 100)
	w := connect(t, s.address)
	if reply, err := w.ask(wiretest.Join(initialJoin())); err != nil {
		t.Fatal(reply, err)
	}
	parameters, _ := stateAt(0)
	_, other := stateAt(1)
	work := wiretest.Work(protocol.Work{ParametersHash: parameters})
	s.Checkpoint("a test")
	asked, err := w.ask(work)
	for ; err == nil; asked, err = w.ask(work) {
		if _, is := asked.(protocol.SnapshotRequest); is {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := w.send(wiretest.Snapshot(0, parameters, other, 4000)...); err != nil {
		t.Fatal(err)
	}
	if reply, err := w.ask(work); err != nil {
		t.Fatal(reply, err)
	}
	if status, err := s.Status(t.Context()); err != nil || status.CheckpointError != "" {
		t.Fatalf("it was to be written: %+v, %v", status, err)
	}
}

// A worker sends its state beside its work: the frames of other messages come between those of it.
func TestTheStateOfAWorkerArrivesBetweenItsGradients(t *testing.T) {
	s := start(t, 100)
	w := connect(t, s.address)
	if reply, err := w.ask(wiretest.Join(initialJoin())); err != nil {
		t.Fatal(reply, err)
	}
	parameters, content := stateAt(0)
	work := wiretest.Work(protocol.Work{ParametersHash: parameters})
	s.Checkpoint("a test")
	asked, err := w.ask(work)
	for ; err == nil; asked, err = w.ask(work) {
		if _, is := asked.(protocol.SnapshotRequest); is {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	pieces := wiretest.Snapshot(0, parameters, content, 1000)
	w.requests++
	snapshot := w.requests
	piece := func() {
		t.Helper()
		if err := w.sendAs(snapshot, pieces[0]); err != nil {
			t.Fatal(err)
		}
		pieces = pieces[1:]
	}
	piece()
	reply, err := w.ask(work)
	lease, is := reply.(protocol.Lease)
	if err != nil || !is {
		t.Fatalf("%T %v", reply, err)
	}
	piece()
	node := tree.Node{First: lease.Shards[0], Count: 1}
	update := wiretest.Update{FirstShard: node.First, Gradients: gradient(0, node, w.layout.Elements()),
		Reports: []protocol.Report{{Shard: node.First, Samples: samples(0), Weight: 2}}}
	frames := update.Frames(w.layout, 300, 2)
	w.requests++
	for i, frame := range frames {
		if err := w.sendAs(w.requests, frame); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			piece()
		}
	}
	if _, reply, err = wiretest.Reply(func() (*capnp.Message, error) { return w.reader.Next() }); err != nil {
		t.Fatal(err)
	}
	if ack, is := reply.(protocol.Ack); !is || ack.Verdict != protocol.Accepted {
		t.Fatalf("%T %v", reply, reply)
	}
	for len(pieces) > 0 {
		piece()
	}
	// It is complete: the server tries to write it, which fails in these tests.
	for status := (run.Status{}); status.CheckpointError == ""; {
		if status, err = s.Status(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	// The frames of an update still follow each other.
	if err := w.sendAs(w.requests+1, frames[0]); err != nil {
		t.Fatal(err)
	}
	w.requests++
	reply, err = w.ask(work)
	if refusal, is := reply.(*protocol.Error); err != nil || !is || !strings.Contains(refusal.Detail, "are mixed with") {
		t.Fatalf("%T %v %v", reply, reply, err)
	}
}
