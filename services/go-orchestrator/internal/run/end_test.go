package run

import (
	"strings"
	"testing"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// askStop asks for work as a worker does whose script has left its loop.
func (b *bench) askStop(peer Peer, step uint64, reason string) {
	b.request++
	b.handle(WorkRequested{Peer: peer, Request: b.request, Work: protocol.Work{Step: step, ParametersHash: hashAt(step),
		Stop: reason}})
}

// recorded returns the ledger's records of one kind.
func recorded[T ledger.Record](b *bench) []T {
	var found []T
	for _, record := range b.committed {
		if r, is := record.(T); is {
			found = append(found, r)
		}
	}
	return found
}

func (b *bench) lastRecord() Record { return b.records[len(b.records)-1] }

func (b *bench) wantStopped(peer Peer, steps uint64, reason string) {
	b.t.Helper()
	end := one[protocol.Finished](b, peer)
	if end.Steps != steps || end.ParametersHash != hashAt(steps) || end.Stopped != reason {
		b.t.Fatalf("peer %d: %+v", peer, end)
	}
	record, status := b.lastRecord(), b.machine.Status()
	if record.State != Finished || record.Stopped != reason || record.TotalSteps != steps || record.Steps != steps ||
		status.Stopped != reason || status.TotalSteps != steps {
		b.t.Fatalf("run.json: %+v; status: %+v", record, status)
	}
}

func TestAScriptThatLeavesItsLoopEndsTheRunForAll(t *testing.T) {
	b := newBench(t)
	b.join(1)
	b.join(2)
	b.closeFirst(2)
	b.ask(2, 1)
	b.wantShards(2, 2, 3)
	b.askStop(1, 1, "patience")
	b.wantStopped(1, 1, "patience")
	// The other one was computing a step that will never be closed: nothing is wrong with it.
	if ack := b.submit(2, b.update(1, 2, 2, 1)); ack.Verdict != protocol.Stale ||
		!strings.Contains(ack.Detail, "patience") {
		t.Fatalf("%+v", ack)
	}
	b.ask(2, 1)
	b.wantStopped(2, 1, "patience")
	stops := recorded[*ledger.Stop](b)
	if len(stops) != 1 || stops[0].Steps != 1 || stops[0].Reason != "patience" || stops[0].Worker != 1 ||
		stops[0].Name != "w" {
		t.Fatalf("%+v", stops)
	}
	if len(b.lines) != 1 {
		t.Fatalf("lines: %+v", b.lines)
	}
	b.wantNoErrors()
}

func TestARunCanEndBeforeItsFirstStep(t *testing.T) {
	b := newBench(t)
	if joined := b.join(1); joined.TotalSteps != 3 {
		t.Fatalf("%+v", joined)
	}
	b.askStop(1, 0, "dry run")
	b.wantStopped(1, 0, "dry run")
	b.join(2)
	b.ask(2, 0)
	b.wantStopped(2, 0, "dry run")
}

// A worker that lags behind asks for the end: the run ends where it is, not where the worker is.
func TestAStopIsAfterTheLastCommittedStep(t *testing.T) {
	b := newBench(t)
	b.join(1)
	b.join(2)
	b.ask(1, 0)
	b.wantShards(1, 0, 1)
	b.submit(1, b.update(0, 0, 2, 1))
	b.ask(2, 0)
	b.wantShards(2, 2, 3)
	b.submit(2, b.update(0, 2, 2, 1))
	b.ask(1, 0)
	one[*protocol.Aggregate](b, 1)
	b.askStop(2, 0, "patience")
	one[*protocol.Aggregate](b, 2)
	b.ask(1, 1)
	b.askStop(2, 1, "patience")
	b.wantStopped(1, 1, "patience")
	b.wantStopped(2, 1, "patience")
	if stops := recorded[*ledger.Stop](b); len(stops) != 1 {
		t.Fatalf("%+v", stops)
	}
}

// While steps are recomputed, the end is that of the ledger.
func TestAStopInAReplayWaitsForTheLastCommittedStep(t *testing.T) {
	b := newBench(t)
	b.join(1)
	b.advance(1, 2)
	b.handle(PeerDisconnected{Peer: 1})
	b.join(2)
	b.askStop(2, 0, "patience")
	for step := range uint64(2) {
		b.wantShards(2, 0, 1, 2, 3)
		b.submit(2, b.update(step, 0, 4, 1))
		b.ask(2, step)
		one[*protocol.Aggregate](b, 2)
		b.ask(2, step+1)
	}
	b.wantStopped(2, 2, "patience")
}

func stopping(u protocol.Update, reasons ...string) protocol.Update {
	for i := range u.Reports {
		u.Reports[i].Stop = reasons[i]
	}
	return u
}

func TestAShardThatAsksForTheEndEndsTheRunAfterItsStep(t *testing.T) {
	b := newBench(t)
	b.join(1)
	b.join(2)
	b.ask(1, 0)
	b.take(1)
	b.ask(2, 0)
	b.take(2)
	// The second worker is faster, but the lower shard counts.
	b.submit(2, stopping(b.update(0, 2, 2, 1), "shard 2", "shard 3"))
	b.submit(1, stopping(b.update(0, 0, 2, 1), "", "shard 1"))
	for peer := Peer(1); peer <= 2; peer++ {
		b.ask(peer, 0)
		one[*protocol.Aggregate](b, peer)
	}
	for peer := Peer(1); peer <= 2; peer++ {
		b.ask(peer, 1)
	}
	for peer := Peer(1); peer <= 2; peer++ {
		b.wantStopped(peer, 1, "shard 1")
	}
	if stop := recorded[*ledger.Stop](b)[0]; stop.Steps != 1 || stop.Worker != 1 {
		t.Fatalf("%+v", stop)
	}
}

func TestTheLastStepNeedsNoStop(t *testing.T) {
	b := newBench(t)
	b.join(1)
	b.advance(1, 2)
	b.ask(1, 2)
	b.take(1)
	b.submit(1, stopping(b.update(2, 0, 4, 1), "", "", "", "patience"))
	b.ask(1, 2)
	one[*protocol.Aggregate](b, 1)
	b.askStop(1, 3, "patience")
	b.wantStopped(1, 3, "")
}

func TestARestartHonoursAStop(t *testing.T) {
	for _, test := range []struct {
		scenario string
		keep     func(ledger.Record) bool // what of the ledger a crash has left
	}{
		{"after the end", func(ledger.Record) bool { return true }},
		{"before the end", func(r ledger.Record) bool { _, is := r.(*ledger.Finished); return !is }},
		{"in the middle of the commit", func(r ledger.Record) bool {
			_, finished := r.(*ledger.Finished)
			_, step := r.(*ledger.Step)
			return !finished && !step
		}},
	} {
		t.Run(test.scenario, func(t *testing.T) {
			b := newBench(t)
			b.join(1)
			b.ask(1, 0)
			b.take(1)
			b.submit(1, stopping(b.update(0, 0, 4, 1), "", "", "", "patience"))
			b.ask(1, 0)
			b.take(1)
			b.ask(1, 1)
			b.wantStopped(1, 1, "patience")
			var left []ledger.Record
			for _, record := range b.committed {
				if test.keep(record) {
					left = append(left, record)
				}
			}
			b.committed, b.lines = left, nil
			b.reopen()
			if joined := b.join(2); joined.TotalSteps != 1 {
				t.Fatalf("%+v", joined)
			}
			b.ask(2, 0)
			// Nobody holds the parameters any more; the step that ends the run is computed once more.
			b.wantShards(2, 0, 1, 2, 3)
			b.submit(2, stopping(b.update(0, 0, 4, 1), "", "", "", "patience"))
			b.ask(2, 0)
			one[*protocol.Aggregate](b, 2)
			b.ask(2, 1)
			b.wantStopped(2, 1, "patience")
			if finished := recorded[*ledger.Finished](b); len(finished) != 1 {
				t.Fatalf("%+v", finished)
			}
			if len(b.lines) != 1 {
				t.Fatalf("%+v", b.lines)
			}
		})
	}
}

// Everything is committed and the parameters are known, but the end is not recorded: a restarted
// process waits for a worker that it can tell.
func TestARestartDoesNotEndARunBeforeAWorkerJoins(t *testing.T) {
	b := newBench(t)
	b.join(1)
	b.train(1, 0, 3)
	var left []ledger.Record
	for _, record := range b.committed {
		if _, is := record.(*ledger.Finished); !is {
			left = append(left, record)
		}
	}
	b.committed = append(left, &ledger.Checkpoint{Step: 3, File: "c", ParamsHash: hashAt(3)})
	b.reopen()
	b.handle(Tick{})
	if state := b.machine.State(); state != Running {
		t.Fatalf("it is %s", state)
	}
	b.back(2, 3)
	b.ask(2, 3)
	if end := one[protocol.Finished](b, 2); end.Steps != 3 || end.Stopped != "" {
		t.Fatalf("%+v", end)
	}
}
