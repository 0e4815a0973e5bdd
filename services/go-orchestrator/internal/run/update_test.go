package run

import (
	"math"
	"strings"
	"testing"

	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// notFinite is an update with NaN in a tensor, as the reader of the wire makes it.
func notFinite(step uint64, first, count uint32) protocol.Update {
	return protocol.Update{Step: step, FirstShard: first, ShardCount: count,
		Refusal: "the gradient of tensor a has NaN at element 1", NotFinite: true}
}

func TestANaNIsRefusedByTensorStepAndShards(t *testing.T) {
	b := newBench(t)
	b.join(1)
	b.ask(1, 0)
	b.take(1)
	ack := b.submit(1, notFinite(0, 2, 2))
	for _, part := range []string{"worker 1 (w)", "shards 2-3 of step 0", "tensor a has NaN at element 1"} {
		if ack.Verdict != protocol.Refused || !strings.Contains(ack.Detail, part) {
			t.Fatalf("%+v", ack)
		}
	}
	u := b.update(0, 0, 2, 1)
	u.Reports[1].LossSum = math.Inf(1)
	if ack := b.submit(1, u); !strings.Contains(ack.Detail, "step 0: the loss of shard 1 is +Inf") {
		t.Fatalf("%+v", ack)
	}
	if b.machine.State() != Running {
		t.Fatal("one worker alone may have a broken machine")
	}
}

// What two workers find is not the fault of a machine: the run ends for all, rather than take down
// one worker after the other.
func TestANaNOfTwoWorkersEndsTheRun(t *testing.T) {
	b := newBench(t)
	for peer := Peer(1); peer <= 3; peer++ {
		b.join(peer)
	}
	b.ask(1, 0)
	b.take(1)
	b.submit(1, notFinite(0, 0, 1))
	b.handle(PeerDisconnected{Peer: 1})
	b.ask(2, 0)
	b.take(2)
	b.ask(3, 0)
	b.take(3)
	b.submit(2, notFinite(0, 1, 1))
	if b.machine.State() != Running {
		t.Fatal("these were different shards")
	}
	b.submit(2, notFinite(0, 0, 2))
	record := b.lastRecord()
	for _, part := range []string{"training diverges", "shards 0-1 of step 0", "tensor a",
		"worker 1 (w) had the same result before"} {
		if record.State != Stopped || !strings.Contains(record.Stopped, part) {
			t.Fatalf("%+v", record)
		}
	}
	b.ask(3, 0)
	if err := one[*protocol.Error](b, 3); err.Action != protocol.Stop ||
		!strings.Contains(err.Detail, "training diverges") {
		t.Fatalf("%+v", err)
	}
}
