package run

import (
	"slices"
	"strings"
	"testing"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// wantHalted checks that the run has ended for everybody, and why.
func (b *bench) wantHalted(why string, waiting ...Peer) {
	b.t.Helper()
	if record := b.lastRecord(); record.State != Stopped || !strings.Contains(record.Stopped, why) ||
		record.Incidents == 0 || record.Finished == nil {
		b.t.Fatalf("%+v", record)
	}
	for _, peer := range waiting {
		if err := one[*protocol.Error](b, peer); err.Action != protocol.Stop || !strings.Contains(err.Detail, why) {
			b.t.Fatalf("peer %d: %+v", peer, err)
		}
	}
	b.handle(JoinRequested{Peer: 99, Join: testJoin()})
	if err := one[*protocol.Error](b, 99); err.Action != protocol.Stop || !strings.Contains(err.Detail, why) {
		b.t.Fatalf("a newcomer: %+v", err)
	}
}

func TestAScriptThatBreaksThePromiseEndsTheRun(t *testing.T) {
	b := newBench(t)
	b.machine.config.Strict = true
	b.join(1)
	b.join(2)
	b.ask(1, 0)
	b.take(1)
	b.submit(1, b.update(0, 0, 2, 1))
	b.ask(1, 0)
	b.handle(LeaveRequested{Peer: 2, Request: 7,
		Leave: protocol.Leave{Reason: "broken", Broken: "draws from numpy's global generator"}})
	b.take(2)
	b.wantHalted("draws from numpy's global generator", 1)
	incident := recorded[*ledger.Incident](b)[0]
	if incident.Kind != ledger.Script || incident.Worker != 2 || incident.Name != "w" ||
		incident.Detail != "draws from numpy's global generator" {
		t.Fatalf("%+v", incident)
	}
	b.reopen()
	if record := b.lastRecord(); record.Incidents != 1 {
		t.Fatalf("after a restart the record is %+v", record)
	}
}

func TestWithoutStrictABrokenScriptIsOnlyAnIncident(t *testing.T) {
	b := newBench(t)
	b.join(1)
	b.join(2)
	b.ask(1, 0)
	b.take(1)
	b.handle(LeaveRequested{Peer: 2, Leave: protocol.Leave{Broken: "draws from numpy's global generator"}})
	one[protocol.Left](b, 2)
	b.submit(1, b.update(0, 0, 2, 1))
	b.ask(1, 0)
	b.wantShards(1, 2, 3)
	if detail := recorded[*ledger.Incident](b)[0].Detail; detail != "draws from numpy's global generator" {
		t.Fatal(detail)
	}
	if status := b.machine.Status(); status.Incidents != 1 || status.Stopped != "" {
		t.Fatalf("%+v", status)
	}
}

// disputing has two workers send different bits for shard 0, and gives the bench with the sum
// complete.
func disputing(t *testing.T, strict bool) *bench {
	b := newCheckedBench(t)
	b.machine.config.Strict = strict
	for peer, name := range []string{"", "first", "second"} {
		if peer > 0 {
			join := testJoin()
			join.WorkerName = name
			b.handle(JoinRequested{Peer: Peer(peer), Join: join})
			one[protocol.Joined](b, Peer(peer))
		}
	}
	b.ask(1, 0)
	b.wantShards(1, 0, 1)
	b.ask(2, 0)
	b.wantShards(2, 2, 3)
	for shard := range uint32(4) {
		b.submit(Peer(1+shard/2), b.update(0, shard, 1, 1))
	}
	b.ask(1, 0)
	b.wantShards(1, 2, 3)
	b.submit(1, b.update(0, 2, 1, 1))
	b.submit(1, b.update(0, 3, 1, 1))
	b.ask(1, 0)
	b.ask(2, 0)
	b.wantShards(2, 0, 1)
	b.submit(2, b.update(0, 1, 1, 1))
	b.submit(2, b.update(0, 0, 1, 9))
	return b
}

func TestAConflictThatNobodyCanSettleEndsTheRun(t *testing.T) {
	b := disputing(t, true)
	b.wantHalted("no worker is left to determine which is wrong", 1)
	if !strings.Contains(b.lastRecord().Stopped, "--allow-nondeterminism") {
		t.Fatal(b.lastRecord().Stopped)
	}
	b.ask(2, 0)
	if err := one[*protocol.Error](b, 2); err.Action != protocol.Stop {
		t.Fatalf("%+v", err)
	}
}

func TestWithoutStrictTheFirstResultOfAConflictCounts(t *testing.T) {
	b := disputing(t, false)
	if got := one[*protocol.Aggregate](b, 1).Gradients.Blocks()[0][0]; got != 4 {
		t.Fatalf("the sum is %v", got)
	}
}

func TestThreeResultsEndTheRun(t *testing.T) {
	for _, strict := range []bool{true, false} {
		b := newCheckedBench(t)
		b.machine.config.Strict = strict
		for peer, name := range []string{"", "first", "second", "third"} {
			if peer > 0 {
				join := testJoin()
				join.WorkerName = name
				b.handle(JoinRequested{Peer: Peer(peer), Join: join})
				one[protocol.Joined](b, Peer(peer))
			}
		}
		for peer := Peer(1); peer <= 3; peer++ {
			b.ask(peer, 0)
			one[protocol.Lease](b, peer)
		}
		b.submit(1, b.update(0, 0, 1, 1))
		b.submit(2, b.update(0, 0, 1, 2))
		b.submit(3, b.update(0, 2, 1, 1))
		b.submit(3, b.update(0, 3, 1, 1))
		b.ask(3, 0)
		if lease := one[protocol.Lease](b, 3); !slices.Contains(lease.Shards, 0) {
			t.Fatalf("%+v", lease)
		}
		b.submit(3, b.update(0, 0, 1, 3))
		if strict {
			b.take(1)
			b.wantHalted("computed three results")
		} else if b.machine.State() != Running {
			t.Fatal("the run is over")
		}
	}
}

func TestASecondTieEndsTheRun(t *testing.T) {
	b := newBench(t)
	b.machine.config.Strict, b.machine.agreement.ties = true, 1
	b.join(1)
	b.join(2)
	b.closeFirst(2)
	b.askWith(1, 1, spoilt)
	one[protocol.Lease](b, 1)
	b.ask(2, 1)
	b.wantHalted("different parameters 2 times", 2)
}
