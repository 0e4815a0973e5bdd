package server_test

import (
	"testing"
	"time"

	"pangea.example/pangea/schemas/tensor"
	"pangea.example/pangea/services/go-orchestrator/internal/failpoint"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/run"
	"pangea.example/pangea/services/go-orchestrator/internal/server"
	"pangea.example/pangea/services/go-orchestrator/internal/tree"
	"pangea.example/pangea/services/go-orchestrator/internal/wiretest"
)

// aggregateFrame reads a frame of an aggregate.
func (w *worker) aggregateFrame(t *testing.T) tensor.Aggregate {
	t.Helper()
	message, err := w.reader.Next()
	if err != nil {
		t.Fatal(err)
	}
	root, err := tensor.ReadRootMessage(message)
	if err != nil || root.Which() != tensor.Message_Which_aggregate {
		t.Fatal(root.Which(), err)
	}
	frame, err := root.Aggregate()
	if err != nil {
		t.Fatal(err)
	}
	return frame
}

// streamedParts reads everything of an aggregate but its end: three frames of up to 1 MiB.
func (w *worker) streamedParts(t *testing.T) {
	t.Helper()
	for range 3 {
		if frame := w.aggregateFrame(t); frame.Final() || frame.Abandoned() || !frame.HasGradients() {
			t.Fatalf("final %v, abandoned %v", frame.Final(), frame.Abandoned())
		}
	}
}

func TestASumIsSentBeforeItsCommitAndItsEndAfterIt(t *testing.T) {
	received, committed, proceed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	s := startWith(t, func(config *server.Config) {
		config.Hit = func(point failpoint.Point) {
			switch point {
			case failpoint.SumAfter:
				<-received // The loop learns of the sum when the worker has it.
			case failpoint.StreamBeforeFinal:
				committed <- struct{}{}
				<-proceed
			}
		}
	}, run.Past{})
	w, _ := large(t, s)
	if err := w.send(wiretest.Work(protocol.Work{})); err != nil {
		t.Fatal(err)
	}
	w.accepted(t)
	w.streamedParts(t)
	close(received)
	<-committed
	s.files.mutex.Lock()
	steps := len(s.files.ledger)
	s.files.mutex.Unlock()
	// Settings, start, model, worker, step: it is in the ledger, and nothing says so to the worker
	// yet.
	if steps != 5 {
		t.Fatalf("%d records are committed", steps)
	}
	if err := w.connection.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.reader.Next(); err == nil {
		t.Fatal("the end of the sum arrived before it was let go")
	}
	if err := w.connection.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	close(proceed)
	if frame := w.aggregateFrame(t); !frame.Final() || !frame.HasHash() {
		t.Fatal("the end of the sum has no hash")
	}
}

func TestAStreamedSumThatIsDroppedIsAbandoned(t *testing.T) {
	s, summing, proceed := startPausingSums(t)
	w, join := large(t, s)
	<-summing
	if err := w.send(wiretest.Work(protocol.Work{})); err != nil {
		t.Fatal(err)
	}
	w.accepted(t)
	w.streamedParts(t)
	// Before the sum is known, a second worker sends different bits for the same shards.
	second := connect(t, s.address)
	second.layout = w.layout
	if _, err := second.ask(wiretest.Join(join)); err != nil {
		t.Fatal(err)
	}
	third := connect(t, s.address)
	if _, err := third.ask(wiretest.Join(join)); err != nil {
		t.Fatal(err)
	}
	other := w.update(0, 0, tree.Node{First: 0, Count: 8})
	other.Gradients[5]++
	reply, err := second.ask(other.Frames(w.layout, 256<<10, 1)...)
	if ack, is := reply.(protocol.Ack); err != nil || !is || ack.Verdict != protocol.Conflict {
		t.Fatal(reply, err)
	}
	close(proceed)
	if frame := w.aggregateFrame(t); !frame.Abandoned() || frame.Final() {
		t.Fatal("the sum is not abandoned")
	}
	// The worker waits on, and has its answer when the doubt is gone with who caused it.
	for _, gone := range []*worker{second, third} {
		if err := gone.connection.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, reply, err = wiretest.Reply(w.reader.Next)
	if a, is := reply.(*wiretest.Aggregate); err != nil || !is || a.Step != 0 {
		t.Fatal(reply, err)
	}
}
