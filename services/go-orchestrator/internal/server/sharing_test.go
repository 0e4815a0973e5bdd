package server_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"pangea.example/pangea/services/go-orchestrator/internal/budget"
	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/shared"
	"pangea.example/pangea/services/go-orchestrator/internal/tree"
	"pangea.example/pangea/services/go-orchestrator/internal/wire"
	"pangea.example/pangea/services/go-orchestrator/internal/wiretest"
)

// connectLocally connects a worker that shares memory: it announces that many slots.
func connectLocally(t *testing.T, s *started, slots int) *worker {
	t.Helper()
	connection, err := shared.Dial(s.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	layout, err := protocol.NewLayout(testJoin().Parameters, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	w := &worker{connection: connection, layout: layout,
		reader: wire.NewReader(connection, wire.DefaultLimits(16<<20), budget.New("worker", 64<<20))}
	w.local, w.slots = wiretest.NewLocal(connection, w.reader.Next), slots
	return w
}

// train lets workers train to the end, each from its own goroutine, and returns the hashes of all
// aggregates, which every worker has the last ones of.
func train(t *testing.T, workers []*worker) []protocol.Hash {
	t.Helper()
	type outcome struct {
		hashes []protocol.Hash
		err    error
	}
	outcomes := make(chan outcome)
	for _, w := range workers {
		go func() {
			hashes, err := w.train()
			outcomes <- outcome{hashes, err}
		}()
	}
	var longest []protocol.Hash
	for range workers {
		o := <-outcomes
		if o.err != nil {
			t.Fatal(o.err)
		}
		shorter, longer := o.hashes, longest
		if len(shorter) > len(longer) {
			shorter, longer = longer, shorter
		}
		if !slices.Equal(shorter, longer[len(longer)-len(shorter):]) {
			t.Fatal("workers of one run have different aggregates")
		}
		longest = longer
	}
	return longest
}

func TestBothTransportsGiveTheSameAggregates(t *testing.T) {
	s := start(t, 100)
	want := train(t, []*worker{connect(t, s.address)})
	if err := s.wait(t); err != nil || len(want) != 6 {
		t.Fatal(len(want), err)
	}
	for workers := 1; workers <= 4; workers++ {
		for local := range workers + 1 {
			t.Run(fmt.Sprintf("%d workers, %d of them share memory", workers, local), func(t *testing.T) {
				s := start(t, 100)
				var all []*worker
				for i := range workers {
					if i < local {
						all = append(all, connectLocally(t, s, 4))
					} else {
						all = append(all, connect(t, s.address))
					}
				}
				if got := train(t, all); !slices.Equal(got, want[len(want)-len(got):]) {
					t.Fatal("different aggregates")
				}
				if err := s.wait(t); err != nil {
					t.Fatal(err)
				}
				if left := s.shared.Used(); left != 0 {
					t.Fatalf("%d bytes of workers' memory are still mapped", left)
				}
			})
		}
	}
}

// joined is a worker that has a lease for all shards of step 0.
func joined(t *testing.T, w *worker) protocol.Lease {
	t.Helper()
	if reply, err := w.ask(wiretest.Join(testJoin())); err != nil {
		t.Fatal(reply, err)
	}
	reply, err := w.ask(wiretest.Work(protocol.Work{}))
	lease, is := reply.(protocol.Lease)
	if err != nil || !is {
		t.Fatalf("%T: %v %v", reply, reply, err)
	}
	return lease
}

func verdict(t *testing.T, w *worker, frame wire.Frame) protocol.Ack {
	t.Helper()
	reply, err := w.ask(frame)
	ack, is := reply.(protocol.Ack)
	if err != nil || !is {
		t.Fatalf("%T: %v %v", reply, reply, err)
	}
	return ack
}

func TestPlacesThatAreNotThoseOfGradientsAreRefused(t *testing.T) {
	s := start(t, 100)
	w := connectLocally(t, s, 1)
	joined(t, w)
	node := tree.Node{First: 0, Count: 4}
	place, free := w.local.Place(w.update(0, 0, node).Gradients)
	if !free {
		t.Fatal("the slot was not released with the lease")
	}
	for _, test := range []struct {
		change func(*protocol.Place)
		want   string
	}{
		{func(p *protocol.Place) { p.Region = 7 }, "region 7 is not one that the worker has shared"},
		{func(p *protocol.Place) { p.Bytes -= 4 }, "the model has 4028"},
		{func(p *protocol.Place) { p.Offset = 64 }, "are not in region 0, which has 4028"},
		{func(p *protocol.Place) { p.Offset = 1 << 63 }, "are not in region 0"},
		{func(p *protocol.Place) { p.Generation = 0 }, "with generation 0 after generation 0"},
	} {
		wrong := place
		test.change(&wrong)
		if ack := verdict(t, w, w.update(0, 0, node).Placed(wrong)); ack.Verdict != protocol.Refused ||
			!strings.Contains(ack.Detail, test.want) {
			t.Errorf("%v: %s; want %q", ack.Verdict, ack.Detail, test.want)
		}
	}
	if ack := verdict(t, w, w.update(0, 0, node).Placed(place)); ack.Verdict != protocol.Accepted {
		t.Fatal(ack)
	}
	place.Generation++
	other := tree.Node{First: 4, Count: 4}
	if ack := verdict(t, w, w.update(0, 0, other).Placed(place)); ack.Verdict != protocol.Refused ||
		!strings.Contains(ack.Detail, "before it was released") {
		t.Fatal(ack)
	}
	s.stop()
	_ = s.wait(t)
}

func TestASlotIsReleasedOnceItsGradientsAreNoLongerNeeded(t *testing.T) {
	s := start(t, 100)
	w := connectLocally(t, s, 2)
	joined(t, w)
	for i, node := range []tree.Node{{First: 0, Count: 4}, {First: 4, Count: 4}} {
		if free := w.local.Free(); free != 2-i {
			t.Fatalf("%d slots are free; want %d", free, 2-i)
		}
		place, _ := w.local.Place(w.update(0, 0, node).Gradients)
		if ack := verdict(t, w, w.update(0, 0, node).Placed(place)); ack.Verdict != protocol.Accepted {
			t.Fatal(ack)
		}
	}
	reply, err := w.ask(wiretest.Work(protocol.Work{}))
	if aggregate, is := reply.(*wiretest.Aggregate); err != nil || !is || !aggregate.Shared {
		t.Fatalf("%T: %v %v", reply, reply, err)
	}
	if free := w.local.Free(); free != 2 {
		t.Fatalf("%d slots are free after the step; want 2", free)
	}
	s.stop()
	_ = s.wait(t)
}

func TestGradientsOfAWorkerThatIsGoneCount(t *testing.T) {
	s := start(t, 100)
	w, other := connectLocally(t, s, 2), connectLocally(t, s, 2)
	joined(t, w)
	node := tree.Node{First: 0, Count: 4}
	place, _ := w.local.Place(w.update(0, 0, node).Gradients)
	if ack := verdict(t, w, w.update(0, 0, node).Placed(place)); ack.Verdict != protocol.Accepted {
		t.Fatal(ack)
	}
	if err := w.connection.Close(); err != nil {
		t.Fatal(err)
	}
	if lease := joined(t, other); !slices.Equal(lease.Shards, []uint32{4, 5, 6, 7}) {
		t.Fatalf("the other worker computes %v; what had arrived must count", lease.Shards)
	}
	rest := tree.Node{First: 4, Count: 4}
	place, _ = other.local.Place(other.update(0, 0, rest).Gradients)
	if ack := verdict(t, other, other.update(0, 0, rest).Placed(place)); ack.Verdict != protocol.Accepted {
		t.Fatal(ack)
	}
	reply, err := other.ask(wiretest.Work(protocol.Work{}))
	aggregate, is := reply.(*wiretest.Aggregate)
	if err != nil || !is || !slices.Equal(aggregate.Gradients, gradient(0, tree.Node{First: 0, Count: 8}, other.layout.Elements())) {
		t.Fatalf("%T: %v %v", reply, reply, err)
	}
	if mapped := s.shared.Used(); mapped != 2*other.layout.Bytes() {
		t.Fatalf("%d bytes of workers' memory are mapped; want the two slots of the worker that is there", mapped)
	}
	s.stop()
	_ = s.wait(t)
}

func TestAWorkerWhoseMemoryIsNotTakenSendsFrames(t *testing.T) {
	s := start(t, 100)
	if err := s.shared.Take(s.shared.Limit()); err != nil {
		t.Fatal(err)
	}
	w := connectLocally(t, s, 2)
	if got := train(t, []*worker{w}); len(got) != 6 || w.local.Free() != 0 {
		t.Fatalf("%d steps, %d slots in use", len(got), w.local.Free())
	}
	if err := s.wait(t); err != nil {
		t.Fatal(err)
	}
}

func TestGradientsThatChangeAfterTheirSubmissionAreNotAddedUp(t *testing.T) {
	s := start(t, 100)
	w := connectLocally(t, s, 2)
	joined(t, w)
	for _, node := range []tree.Node{{First: 0, Count: 4}, {First: 4, Count: 4}} {
		place, _ := w.local.Place(w.update(0, 0, node).Gradients)
		if node.First == 4 {
			// The first contribution waits for this one.
			w.local.Slot(1 - place.Region)[17] ^= 1
		}
		if ack := verdict(t, w, w.update(0, 0, node).Placed(place)); ack.Verdict != protocol.Accepted {
			t.Fatal(ack)
		}
	}
	reply, err := w.ask(wiretest.Work(protocol.Work{}))
	if _, is := reply.(*wiretest.Aggregate); err != nil || is {
		t.Fatalf("%T: %v %v", reply, reply, err)
	}
	s.stop()
	_ = s.wait(t)
	for _, record := range s.files.ledger {
		if incident, is := record.(*ledger.Incident); is && strings.Contains(incident.Detail, "changed the memory of") {
			return
		}
	}
	t.Fatal("the ledger has no incident")
}

func TestMemoryIsNotSharedOverTCP(t *testing.T) {
	s := start(t, 100)
	w := connect(t, s.address)
	joined(t, w)
	region, err := wire.EncodeRegion(protocol.SharedRegion{ID: 1, Bytes: 4096})
	if err != nil {
		t.Fatal(err)
	}
	reply, err := w.ask(region)
	if refusal, is := reply.(*protocol.Error); err != nil || !is || refusal.Action != protocol.Reconnect {
		t.Fatalf("%T: %v %v", reply, reply, err)
	}
	if _, err := w.reader.Next(); err != io.EOF {
		t.Fatalf("the connection is still open: %v", err)
	}
}
