package run

import (
	"strings"
	"testing"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// spoilt is the hash of parameters that are not those of the run.
var spoilt = protocol.Hash{13}

// askWith asks for work with parameters of any hash.
func (b *bench) askWith(peer Peer, step uint64, hash protocol.Hash) {
	b.request++
	b.handle(WorkRequested{Peer: peer, Request: b.request, Work: protocol.Work{Step: step, ParametersHash: hash}})
}

// closeFirst lets workers 1 to n close step 0, and takes their aggregates.
func (b *bench) closeFirst(n int) {
	b.t.Helper()
	for peer := 1; peer <= n; peer++ {
		b.ask(Peer(peer), 0)
		for _, shard := range one[protocol.Lease](b, Peer(peer)).Shards {
			b.submit(Peer(peer), b.update(0, shard, 1, 1))
		}
		b.ask(Peer(peer), 0)
	}
	for peer := 1; peer <= n; peer++ {
		one[*protocol.Aggregate](b, Peer(peer))
	}
}

// reports gives a hash for each number of workers that report it: the first is {1}, the second {2},
// and so on.
func reports(workers ...int) []hashReport {
	var all []hashReport
	next := uint32(1)
	for i, count := range workers {
		r := hashReport{hash: protocol.Hash{byte(i + 1)}}
		for range count {
			r.workers = append(r.workers, next)
			next++
		}
		all = append(all, r)
	}
	return all
}

func TestDecide(t *testing.T) {
	for _, test := range []struct {
		scenario     string
		reports      []hashReport
		outstanding  int
		stepComplete bool
		want         decision
		winner       byte // first byte of the hash; 0 for none
	}{
		{"the only worker is right", reports(1), 0, false, decided, 1},
		{"one of two waits for the other", reports(1), 1, false, undecided, 0},
		{"one of two is enough when the step waits for nothing else", reports(1), 1, true, decided, 1},
		{"two of three are a majority", reports(2), 1, false, decided, 1},
		{"two of four are none", reports(2), 2, false, undecided, 0},
		{"two against one, and one outstanding, may still become a tie", reports(1, 2), 1, false, undecided, 0},
		{"three against one, and one outstanding, may not", reports(1, 3), 1, false, decided, 2},
		{"the order of the reports does not count", reports(3, 1), 1, false, decided, 1},
		{"most are enough when all have reported, without a majority", reports(2, 1, 1), 0, false, decided, 1},
		{"a tie of all", reports(1, 1), 0, false, tied, 0},
		{"a tie at the top", reports(1, 2, 2), 0, false, tied, 0},
		{"a tie below the top is none", reports(2, 2, 3), 0, false, decided, 3},
		{"a tie waits while the step does", reports(1, 1), 1, false, undecided, 0},
		{"a tie is one when the step waits for nothing else", reports(1, 1), 1, true, tied, 0},
	} {
		t.Run(test.scenario, func(t *testing.T) {
			got, winner := decide(test.reports, test.outstanding, test.stepComplete)
			if got != test.want || winner.hash[0] != test.winner {
				t.Fatalf("decision %d for %x; want %d for %x", got, winner.hash[0], test.want, test.winner)
			}
		})
	}
}

func TestTheMajorityDecidesEvenWhenAnotherReportsFirst(t *testing.T) {
	b := newBench(t)
	for peer := range Peer(3) {
		b.join(peer + 1)
	}
	b.closeFirst(3)
	b.askWith(1, 1, spoilt)
	wrong := one[protocol.Lease](b, 1)
	b.submit(1, b.update(1, wrong.Shards[0], 1, 99))
	if len(b.lines) != 0 {
		t.Fatalf("one of three was believed: %+v", b.lines)
	}
	b.ask(2, 1)
	b.ask(3, 1)
	if len(b.lines) != 1 || b.lines[0].ParamsHash != hashAt(1).String() {
		t.Fatalf("lines: %+v", b.lines)
	}
	b.ask(1, 1)
	if err := one[*protocol.Error](b, 1); err.Action != protocol.Resync || !strings.Contains(err.Detail, "worker 1") {
		t.Fatalf("%+v", err)
	}
	// Nothing of it is left in the sum.
	b.take(2)
	b.take(3)
	for shard := range uint32(4) {
		if ack := b.submit(2, b.update(1, shard, 1, 1)); ack.Verdict != protocol.Accepted {
			t.Fatalf("shard %d: %+v", shard, ack)
		}
	}
	b.ask(2, 1)
	aggregate := one[*protocol.Aggregate](b, 2)
	if got := aggregate.Gradients.Blocks()[0][0]; got != 4 {
		t.Fatalf("the sum is %v; want 4", got)
	}
}

func TestATieIsSettledByRecomputing(t *testing.T) {
	b := newBench(t)
	b.machine.config.Strict = true
	b.join(1)
	b.join(2)
	b.closeFirst(2)
	b.askWith(1, 1, spoilt)
	one[protocol.Lease](b, 1)
	b.ask(2, 1)
	if err := one[*protocol.Error](b, 2); err.Action != protocol.Resync {
		t.Fatalf("%+v", err)
	}
	b.ask(1, 1)
	if err := one[*protocol.Error](b, 1); err.Action != protocol.Resync {
		t.Fatalf("%+v", err)
	}
	b.handle(PeerDisconnected{Peer: 1})
	b.handle(PeerDisconnected{Peer: 2})
	// The second one is back first, from the initial parameters, and reports the same hash again: it
	// was right.
	b.join(3)
	b.ask(3, 0)
	b.wantShards(3, 0, 1, 2, 3)
	for shard := range uint32(4) {
		b.submit(3, b.update(0, shard, 1, 1))
	}
	b.ask(3, 0)
	one[*protocol.Aggregate](b, 3)
	b.ask(3, 1)
	if len(b.lines) != 1 || b.lines[0].ParamsHash != hashAt(1).String() || b.machine.roster.diverged["w"] != 1 {
		t.Fatalf("lines: %+v, diverged: %v", b.lines, b.machine.roster.diverged)
	}
}

func TestTheReportOfAWorkerThatHangsIsNotWaitedFor(t *testing.T) {
	b := newBench(t)
	b.join(1)
	b.join(2)
	for range 2 * leastObservations {
		b.machine.step.requestTimes.add(time.Millisecond, 1)
	}
	b.closeFirst(2)
	b.ask(1, 1)
	longest := inSeconds(b.machine.step.requestTimes.longest())
	second := b.machine.roster.find(2)
	for b.now.Add(time.Second).Sub(second.answered) <= 2*longest {
		if len(b.lines) != 0 {
			t.Fatal("one of two was believed")
		}
		b.handle(Tick{})
	}
	b.handle(Tick{})
	if len(b.lines) != 1 {
		t.Fatal("the second one was waited for")
	}
}
