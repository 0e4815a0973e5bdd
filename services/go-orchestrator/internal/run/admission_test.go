package run

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// rush handles joins at one time, and counts those that are let in.
func (b *bench) rush(first Peer, names ...string) (joined int) {
	for i, name := range names {
		join := testJoin()
		join.WorkerName = name
		peer := first + Peer(i)
		b.carryOut(b.machine.Handle(b.now, JoinRequested{Peer: peer, Join: join}))
		switch reply := b.take(peer)[0].(type) {
		case protocol.Joined:
			joined++
			b.carryOut(b.machine.Handle(b.now, LeaveRequested{Peer: peer}))
			b.take(peer)
		case *protocol.Error:
			if reply.Action != protocol.RetryLater || reply.RetryAfter <= 0 || !strings.Contains(reply.Detail, "at once") {
				b.t.Fatalf("%+v", reply)
			}
		}
	}
	return joined
}

func repeated(name string, count int) (names []string) {
	for range count {
		names = append(names, name)
	}
	return names
}

func different(prefix string, count int) (names []string) {
	for i := range count {
		names = append(names, fmt.Sprint(prefix, i))
	}
	return names
}

func TestAWorkerCannotJoinAgainAndAgain(t *testing.T) {
	b := newBench(t)
	b.join(1)
	if joined := b.rush(100, repeated("again", 1000)...); joined != joinsByName {
		t.Fatalf("%d joined", joined)
	}
	b.now = b.now.Add(10 * time.Second)
	if joined := b.rush(2000, repeated("again", 1000)...); joined != 10*joinsBySecond {
		t.Fatalf("%d joined", joined)
	}
}

func TestStrangersCannotCrowdOutThoseWhoReturn(t *testing.T) {
	b := newBench(t)
	b.join(1)
	b.handle(LeaveRequested{Peer: 1})
	b.take(1)
	b.now = b.now.Add(time.Minute)
	if joined := b.rush(100, different("stranger ", 2000)...); joined != strangers {
		t.Fatalf("%d joined", joined)
	}
	if joined := b.rush(5000, "w", "stranger 1"); joined != 2 {
		t.Fatalf("%d of two that were there before joined", joined)
	}
}

func TestTheLastPlacesAreForThoseWhoReturn(t *testing.T) {
	b := newBench(t)
	b.machine.config.MaxWorkers = 2
	b.join(1)
	b.handle(LeaveRequested{Peer: 1})
	b.take(1)
	for peer := Peer(2); peer < 5; peer++ {
		join := testJoin()
		join.WorkerName = fmt.Sprint("stranger ", peer)
		b.handle(JoinRequested{Peer: peer, Join: join})
		if _, joined := b.take(peer)[0].(protocol.Joined); joined != (peer < 4) {
			t.Fatalf("stranger %d: joined is %v", peer, joined)
		}
	}
	b.join(5)
}

func TestRecordsOfWorkersWaitForEachOther(t *testing.T) {
	b := newBench(t)
	b.join(1)
	for peer := range Peer(100) {
		b.carryOut(b.machine.Handle(b.now, JoinRequested{Peer: 100 + peer, Join: testJoin()}))
	}
	if count := len(recorded[*ledger.Worker](b)); count != 0 {
		t.Fatalf("%d are recorded at once", count)
	}
	// A step that may name them does not come before them.
	b.ask(1, 0)
	b.take(1)
	b.submit(1, b.update(0, 0, 4, 1))
	b.ask(1, 0)
	one[*protocol.Aggregate](b, 1)
	for i, record := range b.committed {
		if _, is := record.(*ledger.Step); is && i != len(b.committed)-1 {
			t.Fatalf("record %d of %d is a step", i, len(b.committed))
		}
	}
	if count := len(recorded[*ledger.Worker](b)); count != 1+joinsByName {
		t.Fatalf("%d are recorded", count)
	}
	// Without a step they are recorded all the same, together.
	b.now = b.now.Add(time.Minute)
	b.join(500)
	b.handle(Tick{})
	if count := len(recorded[*ledger.Worker](b)); count != 2+joinsByName {
		t.Fatalf("%d are recorded", count)
	}
}

func TestAContradictionIsRecordedOnce(t *testing.T) {
	b := newBench(t)
	b.join(1)
	b.join(2)
	b.train(1, 0, 1)
	for range 100 {
		if ack := b.submit(2, b.update(0, 0, 4, 7)); ack.Verdict != protocol.Conflict {
			t.Fatalf("%+v", ack)
		}
	}
	if incidents := recorded[*ledger.Incident](b); len(incidents) != 1 {
		t.Fatalf("%d incidents", len(incidents))
	}
}
