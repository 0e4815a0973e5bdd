package run

import (
	"testing"

	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// summingBench has a worker that waits for the sum of step 0, which is being made.
func summingBench(t *testing.T) *bench {
	b := newBench(t)
	b.slow = true
	b.join(1)
	b.ask(1, 0)
	b.take(1)
	b.submit(1, b.update(0, 0, 4, 1))
	if len(b.streams) != 0 {
		t.Fatal("a sum is streamed to a worker that does not wait")
	}
	b.ask(1, 0)
	return b
}

func TestASumIsStreamedToWhoeverWaitsForItAndEndsWithTheCommit(t *testing.T) {
	b := summingBench(t)
	if len(b.streams) != 1 || b.streams[0].Peer != 1 || b.streams[0].Request != b.request ||
		b.streams[0].Aggregate.Samples != 8 || b.streams[0].Aggregate.LossSum != 4 {
		t.Fatalf("%+v", b.streams)
	}
	b.handle(Tick{})
	committed := len(b.committed)
	if len(b.streams) != 1 || len(b.take(1)) != 0 {
		t.Fatal("it is streamed twice, or answered before the commit")
	}
	b.finishSums()
	if len(b.committed) != committed+1 || b.abandoned != 0 {
		t.Fatalf("%d records were committed, and %d streams abandoned", len(b.committed)-committed, b.abandoned)
	}
	a := one[*protocol.Aggregate](b, 1)
	if a.Samples != 8 || a.LossSum != 4 || a.Divisor != 8 || a.Gradients == nil {
		t.Fatalf("%+v", a)
	}
}

func TestTheStreamOfASumThatIsDroppedIsAbandoned(t *testing.T) {
	b := summingBench(t)
	b.handle(LeaveRequested{Peer: 1, Leave: protocol.Leave{Reason: "done"}})
	b.take(1)
	b.join(2)
	b.machine.effects = nil
	b.machine.restartStep()
	b.carryOut(b.machine.effects)
	if b.abandoned != 1 {
		t.Fatalf("%d streams were abandoned", b.abandoned)
	}
	b.finishSums()
	b.handle(Tick{})
	if b.abandoned != 1 || len(b.streams) != 1 {
		t.Fatal("a stream that is over is abandoned again, or another one began")
	}
}

func TestAStreamDoesNotWaitForMoreThanTheCommit(t *testing.T) {
	b := summingBench(t)
	// While the sum is made, a second worker sends different bits: a third one would have to settle
	// it.
	b.join(2)
	b.join(3)
	for peer := Peer(2); peer <= 3; peer++ {
		b.handle(WorkRequested{Peer: peer, Work: protocol.Work{ParametersHash: hashAt(0)}})
	}
	before := len(b.streams)
	if ack := b.submit(2, b.update(0, 0, 4, 9)); ack.Verdict != protocol.Conflict {
		t.Fatalf("%+v", ack)
	}
	b.finishSums()
	if b.abandoned != 1 || b.machine.step.number != 0 {
		t.Fatalf("%d streams were abandoned; step %d is open", b.abandoned, b.machine.step.number)
	}
	if before != 3 || len(b.streams) != before {
		t.Fatalf("%d streams, %d before the conflict", len(b.streams), before)
	}
	// The third one is to settle it instead of being sent the sum, and confirms the first: the sum
	// that was made already is sent whole.
	b.wantShards(3, 0, 1, 2, 3)
	b.submit(3, b.update(0, 0, 4, 1))
	b.finishSums()
	if a := one[*protocol.Aggregate](b, 1); a.Step != 0 {
		t.Fatalf("%+v", a)
	}
}
