package run

import (
	"strings"
	"testing"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// train is a worker that is alone, from the step that it holds to the end of the run.
func (b *bench) train(peer Peer, from, to uint64) {
	b.t.Helper()
	for step := from; step < to; step++ {
		b.ask(peer, step)
		b.take(peer)
		u := b.update(step%3, 0, 4, 1)
		u.Step = step
		if ack := b.submit(peer, u); ack.Verdict != protocol.Accepted {
			b.t.Fatalf("step %d: %+v", step, ack)
		}
		b.ask(peer, step)
		one[*protocol.Aggregate](b, peer)
	}
	b.ask(peer, to)
}

// back joins as a worker that has been there before.
func (b *bench) back(peer Peer, step uint64) {
	b.t.Helper()
	join := testJoin()
	join.RunID, join.Step, join.ParametersHash = "test", step, hashAt(step)
	b.handle(JoinRequested{Peer: peer, Join: join})
	one[protocol.Joined](b, peer)
}

func TestAFinishedRunContinuesWithMoreEpochs(t *testing.T) {
	b := newBench(t)
	b.join(1)
	b.train(1, 0, 3)
	one[protocol.Finished](b, 1)
	for epochs := uint32(2); epochs <= 3; epochs++ {
		b.machine.config.Settings.Epochs = epochs
		b.reopen()
		if record := b.lastRecord(); record.State != Running || record.Epochs != epochs ||
			record.TotalSteps != uint64(3*epochs) {
			t.Fatalf("%+v", record)
		}
		peer := Peer(epochs)
		b.back(peer, uint64(3*epochs-3))
		b.train(peer, uint64(3*epochs-3), uint64(3*epochs))
		if end := one[protocol.Finished](b, peer); end.Steps != uint64(3*epochs) || end.Stopped != "" {
			t.Fatalf("%+v", end)
		}
	}
	if changes := recorded[*ledger.Change](b); len(changes) != 2 || changes[1].What != ledger.ChangedEpochs ||
		changes[1].From != "2" || changes[1].To != "3" || changes[1].Step != 6 {
		t.Fatalf("%+v", changes)
	}
	if len(b.lines) != 9 {
		t.Fatalf("%d lines", len(b.lines))
	}
	b.machine.config.Settings.Epochs = 2
	if _, _, err := Open(b.machine.config, b.now, Past{Records: ledger.List(b.committed)}); err == nil ||
		!strings.Contains(err.Error(), "--epochs 3, but 2 was requested; a run can be made longer, not shorter") {
		t.Fatal(err)
	}
	b.machine.config.Settings.Epochs = 3
	b.reopen()
	if state := b.machine.State(); state != Finished {
		t.Fatalf("it is %s", state)
	}
}

func TestSettingsThatFixTheArithmeticStayRefused(t *testing.T) {
	b := newBench(t)
	b.join(1)
	for flag, change := range map[string]func(*protocol.Settings){
		"--seed":       func(s *protocol.Settings) { s.Seed = 9 },
		"--shards":     func(s *protocol.Settings) { s.Shards = 8 },
		"--batch-size": func(s *protocol.Settings) { s.BatchSize = 9 },
	} {
		config := b.machine.config
		config.TakeChanges = true
		change(&config.Settings)
		if _, _, err := Open(config, b.now, Past{Records: ledger.List(b.committed)}); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

func TestARunThatAScriptEndedContinuesOnRequest(t *testing.T) {
	b := newBench(t)
	b.join(1)
	b.train(1, 0, 1)
	b.take(1)
	b.askStop(1, 1, "patience")
	b.wantStopped(1, 1, "patience")
	b.machine.config.Settings.Epochs = 2
	b.reopen()
	if record := b.lastRecord(); record.State != Finished || record.TotalSteps != 1 || record.Stopped != "patience" {
		t.Fatalf("%+v", record)
	}
	b.machine.config.TakeChanges = true
	b.reopen()
	if record := b.lastRecord(); record.State != Running || record.TotalSteps != 6 || record.Stopped != "" {
		t.Fatalf("%+v", record)
	}
	b.back(2, 1)
	b.train(2, 1, 2)
	b.take(2)
	b.askStop(2, 2, "patience again")
	b.wantStopped(2, 2, "patience again")
	if changes := recorded[*ledger.Change](b); changes[len(changes)-1].What != ledger.ChangedStop ||
		changes[len(changes)-1].From != "patience" {
		t.Fatalf("%+v", changes)
	}
}

// The process dies between the stop and the end of the run, and is restarted with the same
// arguments: the new stop holds.
func TestAStopThatHasNotEndedTheRunYetIsNotLifted(t *testing.T) {
	b := newBench(t)
	b.machine.config.TakeChanges = true
	b.join(1)
	b.join(2)
	b.closeFirst(2)
	b.askStop(1, 1, "patience")
	b.reopen()
	b.back(3, 1)
	b.ask(3, 1)
	b.wantStopped(3, 1, "patience")
}
