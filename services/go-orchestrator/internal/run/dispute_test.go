package run

import (
	"testing"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/adder"
	"pangea.example/pangea/services/go-orchestrator/internal/budget"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/vector"
)

// newCheckedBench has every shard computed by two workers.
func newCheckedBench(t *testing.T) *bench {
	settings := protocol.Settings{Seed: 1, Shards: 4, BatchSize: 8, Epochs: 1}
	machine, effects, err := Open(Config{RunID: "test", Settings: settings, MemoryBytes: 1 << 20, StragglerK: 5,
		VerifyFraction: 1}, time.Unix(1000, 0), Past{})
	if err != nil {
		t.Fatal(err)
	}
	pool := vector.NewPool(budget.New("test", 1<<20))
	b := &bench{t: t, machine: machine, pool: pool, adder: adder.New(pool), now: time.Unix(1000, 0),
		replies: map[Peer][]protocol.Reply{}}
	b.carryOut(effects)
	return b
}

// A worker that is proven wrong about one shard has sent wrong bits for another one, too, and those
// are part of the sum: they must be discarded.
func TestNothingThatAWrongWorkerSentStaysInTheSum(t *testing.T) {
	b := newCheckedBench(t)
	for peer, name := range []string{"", "liar", "second", "third"} {
		if peer > 0 {
			join := testJoin()
			join.WorkerName = name
			b.handle(JoinRequested{Peer: Peer(peer), Join: join})
			one[protocol.Joined](b, Peer(peer))
		}
	}
	lease := func(peer Peer) protocol.Lease {
		b.ask(peer, 0)
		return one[protocol.Lease](b, peer)
	}
	want := func(verdict protocol.Verdict, peer Peer, shard uint32, value float32) {
		t.Helper()
		if ack := b.submit(peer, b.update(0, shard, 1, value)); ack.Verdict != verdict {
			t.Fatalf("shard %d of worker %d: %+v; want %v", shard, peer, ack, verdict)
		}
	}
	for peer := Peer(1); peer <= 3; peer++ {
		lease(peer)
	}
	want(protocol.Accepted, 1, 0, 9)
	want(protocol.Accepted, 2, 1, 1)
	want(protocol.Accepted, 3, 2, 1)
	want(protocol.Accepted, 3, 3, 1)
	lease(1)
	want(protocol.Conflict, 1, 1, 9)
	lease(2)
	want(protocol.Conflict, 2, 0, 1)
	if shards := lease(3).Shards; len(shards) != 1 || shards[0] != 1 {
		t.Fatalf("the third worker is to settle the dispute about shard 1; it got %v", shards)
	}
	want(protocol.Duplicate, 3, 1, 1)
	if len(b.machine.roster.workers) != 2 {
		t.Fatalf("%d workers are left; the liar must have been removed", len(b.machine.roster.workers))
	}
	// Both that are left compute what they are given, until they are given the sum.
	for range 10 {
		for peer := Peer(2); peer <= 3; peer++ {
			if w := b.machine.roster.find(peer); !w.waiting {
				b.ask(peer, 0)
			}
			for _, reply := range b.take(peer) {
				switch r := reply.(type) {
				case protocol.Lease:
					for _, shard := range r.Shards {
						b.submit(peer, b.update(0, shard, 1, 1))
					}
				case *protocol.Aggregate:
					if got := r.Gradients.Blocks()[0][0]; got != 4 {
						t.Fatalf("the sum is %v; want 4", got)
					}
					return
				}
			}
		}
	}
	t.Fatal("no sum arrived")
}
