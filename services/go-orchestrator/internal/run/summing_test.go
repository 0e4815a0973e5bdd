package run

import (
	"math"
	"strings"
	"testing"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

func TestEventsAreHandledWhileASumIsMade(t *testing.T) {
	b := newBench(t)
	b.slow = true
	b.join(1)
	b.ask(1, 0)
	b.wantShards(1, 0, 1, 2, 3)
	b.submit(1, b.update(0, 0, 2, 1))
	if len(b.sums) != 0 {
		t.Fatal("a sum is made of half of a step")
	}
	b.submit(1, b.update(0, 2, 2, 2))
	b.ask(1, 0)
	if len(b.sums) != 1 || len(b.take(1)) != 0 {
		t.Fatalf("%d sums are made, or an answer was given before one was there", len(b.sums))
	}
	if joined := b.join(2); joined.WorkerID != 2 {
		t.Fatalf("%+v", joined)
	}
	if ack := b.submit(1, b.update(0, 0, 2, 1)); ack.Verdict != protocol.Duplicate {
		t.Fatalf("%+v", ack)
	}
	b.handle(Tick{}) // commits the workers' records
	committed := len(b.committed)
	b.handle(Tick{})
	if len(b.sums) != 1 || len(b.committed) != committed {
		t.Fatal("the same sum is made twice, or something was committed without it")
	}
	b.finishSums()
	if a := one[*protocol.Aggregate](b, 1); a.Gradients.Blocks()[0][1] != 3 {
		t.Fatalf("the sum is %v", a.Gradients.Blocks()[0])
	}
}

func TestASumOfAStepThatWasBegunAgainIsDropped(t *testing.T) {
	b := newBench(t)
	b.slow = true
	b.join(1)
	b.ask(1, 0)
	b.take(1)
	b.submit(1, b.update(0, 0, 4, 9))
	before := b.pool.Budget().Used()
	b.machine.restartStep()
	b.finishSums()
	if b.machine.step.number != 0 || b.machine.summing.whole != nil || len(b.committed) != 3 {
		t.Fatalf("step %d is open, and %d records are committed", b.machine.step.number, len(b.committed))
	}
	b.ask(1, 0)
	b.wantShards(1, 0, 1, 2, 3)
	b.submit(1, b.update(0, 0, 4, 5))
	b.ask(1, 0)
	b.finishSums()
	if a := one[*protocol.Aggregate](b, 1); a.Gradients.Blocks()[0][1] != 5 {
		t.Fatalf("the sum is %v", a.Gradients.Blocks()[0])
	}
	if now := b.pool.Budget().Used(); now != before {
		t.Fatalf("%d bytes are in use after the second attempt, %d were before it: the first one's are lost", now, before)
	}
}

func TestManyContributionsAreAddedUpEarly(t *testing.T) {
	const shards = 64
	b := newBenchWith(t, protocol.Settings{Seed: 1, Shards: shards, BatchSize: 128, Epochs: 1})
	join := testJoin()
	join.Dataset.TrainSamples = 128
	b.handle(JoinRequested{Peer: 1, Join: join})
	b.take(1)
	b.ask(1, 0)
	b.take(1)
	// The even ones first: nothing can be added.
	for first := range uint32(2) {
		for shard := first; shard < shards; shard += 2 {
			b.submit(1, b.update(0, shard, 1, float32(shard)))
			if held := b.machine.step.tree.Held(); held > shards/2 {
				t.Fatalf("%d vectors are held", held)
			}
		}
	}
	b.ask(1, 0)
	if a := one[*protocol.Aggregate](b, 1); a.Gradients.Blocks()[0][0] != shards*(shards-1)/2 {
		t.Fatalf("the sum is %v", a.Gradients.Blocks()[0])
	}
}

// unchecked is an update whose gradients nobody has looked at: they are not what was submitted.
func unchecked(u protocol.Update, value float32, digest bool) protocol.Update {
	u.Unchecked = true
	u.Gradients.Blocks()[0][2] = value
	if digest {
		u.Digest = u.Gradients.Digest()
	}
	return u
}

func TestAStepIsBegunAgainWithoutMemoryThatWasWrittenToAfterItWasSubmitted(t *testing.T) {
	b := newBench(t)
	b.join(1)
	b.ask(1, 0)
	b.take(1)
	b.submit(1, unchecked(b.update(0, 0, 4, 1), 7, false))
	incident, is := b.committed[len(b.committed)-1].(*ledger.Incident)
	if !is || incident.Kind != ledger.Conflict || incident.Worker != 1 || incident.Other != 1 ||
		!strings.Contains(incident.Detail, "changed the memory of shards 0-3 of step 0") {
		t.Fatalf("%+v", b.committed[len(b.committed)-1])
	}
	b.ask(1, 0)
	b.wantShards(1, 0, 1, 2, 3)
	b.submit(1, unchecked(b.update(0, 0, 4, 1), 7, true))
	b.ask(1, 0)
	if a := one[*protocol.Aggregate](b, 1); a.Gradients.Blocks()[0][2] != 7 {
		t.Fatalf("the sum is %v", a.Gradients.Blocks()[0])
	}
}

func TestAnUncheckedResultThatIsNotFiniteIsThatOfItsWorker(t *testing.T) {
	nan := float32(math.NaN())
	b := newBench(t)
	b.join(1)
	b.join(2)
	b.ask(1, 0)
	b.wantShards(1, 0, 1)
	b.ask(2, 0)
	b.wantShards(2, 2, 3)
	b.submit(1, b.update(0, 0, 2, 1))
	b.ask(1, 0)
	b.submit(2, unchecked(b.update(0, 2, 2, 1), nan, true))
	b.wantShards(1, 0, 1, 2, 3)
	b.ask(2, 0)
	if err := one[*protocol.Error](b, 2); err.Action != protocol.Stop ||
		!strings.Contains(err.Detail, "worker 2 (w): shards 2-3 of step 0: the gradient of tensor b has NaN at element 0") {
		t.Fatalf("%+v", err)
	}
	// A second worker with the same result: it is not the fault of a machine.
	b.submit(1, b.update(0, 0, 2, 1))
	b.submit(1, unchecked(b.update(0, 2, 2, 1), nan, true))
	if b.machine.State() != Stopped || !strings.Contains(b.machine.end.halted, "training diverges") {
		t.Fatalf("%s: %s", b.machine.State(), b.machine.end.halted)
	}
}
