package server_test

import (
	"context"
	"testing"

	"pangea.example/pangea/services/go-orchestrator/internal/failpoint"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/run"
	"pangea.example/pangea/services/go-orchestrator/internal/server"
	"pangea.example/pangea/services/go-orchestrator/internal/tree"
	"pangea.example/pangea/services/go-orchestrator/internal/wiretest"
)

// large is a worker whose model is large enough to be added beside the loop. It has submitted all
// of step 0, and has not read the answer.
func large(t *testing.T, s *started) (*worker, protocol.Join) {
	t.Helper()
	w := connect(t, s.address)
	join := testJoin()
	join.Parameters = []protocol.Spec{{Name: "weight", DType: protocol.Float32, Shape: []uint64{300, 2000}}}
	layout, err := protocol.NewLayout(join.Parameters, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	w.layout = layout
	if _, err := w.ask(wiretest.Join(join)); err != nil {
		t.Fatal(err)
	}
	reply, err := w.ask(wiretest.Work(protocol.Work{}))
	if err != nil || len(reply.(protocol.Lease).Shards) != 8 {
		t.Fatal(reply, err)
	}
	if err := w.send(w.update(0, 0, tree.Node{First: 0, Count: 8}).Frames(layout, 256<<10, 1)...); err != nil {
		t.Fatal(err)
	}
	return w, join
}

// accepted reads the answer to an update.
func (w *worker) accepted(t *testing.T) {
	t.Helper()
	if _, reply, err := wiretest.Reply(w.reader.Next); err != nil || reply.(protocol.Ack).Verdict != protocol.Accepted {
		t.Fatal(reply, err)
	}
}

// startPausingSums starts a server that pauses after each sum that is made beside its event loop:
// it says so on the first channel, and waits for the second one.
func startPausingSums(t *testing.T) (s *started, summing, proceed chan struct{}) {
	t.Helper()
	summing, proceed = make(chan struct{}), make(chan struct{})
	s = startWith(t, func(config *server.Config) {
		config.Hit = func(point failpoint.Point) {
			if point == failpoint.SumAfter {
				summing <- struct{}{}
				<-proceed
			}
		}
	}, run.Past{})
	return s, summing, proceed
}

func TestEventsAreHandledWhileASumIsMade(t *testing.T) {
	s, summing, finish := startPausingSums(t)
	w, join := large(t, s)
	<-summing
	// The update was acknowledged, a newcomer joins, the status answers: all before the sum is there.
	w.accepted(t)
	newcomer := connect(t, s.address)
	if reply, err := newcomer.ask(wiretest.Join(join)); err != nil || reply.(protocol.Joined).WorkerID != 2 {
		t.Fatal(reply, err)
	}
	if status, err := s.Status(context.Background()); err != nil || status.Committed != 0 || len(status.Workers) != 2 {
		t.Fatalf("%+v %v", status, err)
	}
	close(finish)
	if reply, err := w.ask(wiretest.Work(protocol.Work{})); err != nil || reply.(*wiretest.Aggregate).Step != 0 {
		t.Fatal(reply, err)
	}
}
