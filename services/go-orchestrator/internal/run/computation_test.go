package run

import (
	"strings"
	"testing"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

const training = `{"clip_norm":null,"optimizer":{"groups":[{"lr":0.1,"params":2}],"name":"AdamW"}}`

func said(change func(*protocol.Join)) protocol.Join {
	join := testJoin()
	join.Training, join.Arithmetic = training, "avx2"
	join.Fingerprints = []protocol.Fingerprint{{Operator: "exp", Hash: protocol.Hash{1}},
		{Operator: "matmul", Hash: protocol.Hash{2}}}
	if change != nil {
		change(&join)
	}
	return join
}

func lr(to string) func(*protocol.Join) {
	return func(j *protocol.Join) { j.Training = strings.Replace(training, "0.1", to, 1) }
}

func (b *bench) joinAs(peer Peer, join protocol.Join) []protocol.Reply {
	b.handle(JoinRequested{Peer: peer, Join: join})
	return b.take(peer)
}

func TestWorkersThatComputeDifferentlyAreRefused(t *testing.T) {
	for _, test := range []struct {
		scenario string
		change   func(*protocol.Join)
		detail   string // "" for one that is taken
		lenient  bool   // taken without strict
	}{
		{"the same", nil, "", false},
		{"nothing said", func(j *protocol.Join) { j.Training, j.Arithmetic, j.Fingerprints = "", "", nil }, "", false},
		{"another rate", lr("0.01"), "optimizer.groups[0].lr is 0.01, but the run has 0.1; " +
			"use the run's value, or accept the new one with --take-changes", false},
		{"another optimizer", func(j *protocol.Join) { j.Training = strings.Replace(training, "AdamW", "SGD", 1) },
			`optimizer.name is "SGD", but the run has "AdamW"`, false},
		{"a key more", func(j *protocol.Join) {
			j.Training = strings.Replace(training, `"optimizer":{`, `"optimizer":{"eps":1e-08,`, 1)
		}, "optimizer.eps is 1e-08, but the run has nothing", false},
		{"a key less", func(j *protocol.Join) { j.Training = strings.Replace(training, `"clip_norm":null,`, "", 1) },
			"clip_norm is nothing, but the run has null", false},
		{"no JSON", func(j *protocol.Join) { j.Training = "Adam" }, `training is "Adam", but the run has "{`, false},
		{"another level", func(j *protocol.Join) { j.Arithmetic = "avx512" },
			"its arithmetic is pinned to avx512, that of the run to avx2", true},
		{"different bits", func(j *protocol.Join) {
			j.Fingerprints = []protocol.Fingerprint{{Operator: "matmul", Hash: protocol.Hash{9}},
				{Operator: "exp", Hash: protocol.Hash{9}}, {Operator: "new", Hash: protocol.Hash{9}}}
		}, "exp, matmul of the same inputs give different bits", true},
	} {
		for _, strict := range []bool{true, false} {
			for _, restarted := range []bool{false, true} {
				t.Run(test.scenario, func(t *testing.T) {
					b := newBench(t)
					b.machine.config.Strict = strict
					b.joinAs(1, said(nil))
					if restarted {
						b.reopen()
					}
					reply := b.joinAs(2, said(test.change))[0]
					err, refused := reply.(*protocol.Error)
					if wanted := test.detail != "" && (strict || !test.lenient); refused != wanted ||
						refused && !strings.Contains(err.Detail, test.detail) {
						t.Fatalf("strict %v, restarted %v: %+v", strict, restarted, reply)
					}
				})
			}
		}
	}
}

func TestADifferentTrainingIsAcceptedOnRequest(t *testing.T) {
	b := newBench(t)
	b.joinAs(1, said(nil))
	b.machine.config.TakeChanges = true
	// Not while a worker is there that trains as before.
	if err, is := b.joinAs(2, said(lr("0.01")))[0].(*protocol.Error); !is ||
		!strings.Contains(err.Detail, "the workers that joined before it") {
		t.Fatalf("%+v", err)
	}
	b.reopen()
	if _, is := b.joinAs(3, said(lr("0.01")))[0].(protocol.Joined); !is {
		t.Fatal("refused")
	}
	if changes := recorded[*ledger.Change](b); len(changes) != 1 || changes[0].What != ledger.ChangedTraining ||
		changes[0].From != training || !strings.Contains(changes[0].To, "0.01") {
		t.Fatalf("%+v", changes)
	}
	if err, is := b.joinAs(4, said(nil))[0].(*protocol.Error); !is ||
		!strings.Contains(err.Detail, "lr is 0.1, but the run has 0.01") {
		t.Fatalf("%+v", err)
	}
	// The new training is the run's, also after a restart that takes no changes.
	b.machine.config.TakeChanges = false
	b.reopen()
	if _, is := b.joinAs(5, said(lr("0.01")))[0].(protocol.Joined); !is {
		t.Fatal("refused")
	}
	if err, is := b.joinAs(6, said(nil))[0].(*protocol.Error); !is {
		t.Fatalf("%+v", err)
	}
}

// Steps after the newest checkpoint must come out as they are in the ledger, so they cannot be
// recomputed with a different training.
func TestAChangeIsNotAcceptedWhileStepsMustBeRecomputed(t *testing.T) {
	b := newBench(t)
	b.joinAs(1, said(nil))
	b.advance(1, 2)
	b.machine.config.TakeChanges = true
	b.committed = append(b.committed, &ledger.Checkpoint{Step: 1, File: "c", ParamsHash: hashAt(1)})
	b.reopen()
	if err, is := b.joinAs(2, said(lr("0.01")))[0].(*protocol.Error); !is ||
		!strings.Contains(err.Detail, "the newest checkpoint is of step 1 and the 1 steps after it") {
		t.Fatalf("%+v", err)
	}
	b.committed = append(b.committed, &ledger.Checkpoint{Step: 2, File: "d", ParamsHash: hashAt(2)})
	b.reopen()
	if _, is := b.joinAs(3, said(lr("0.01")))[0].(protocol.Joined); !is {
		t.Fatal("refused")
	}
}

// A ledger from before workers reported how they train takes what the first one reports.
func TestWhatNobodyReportedIsTakenFromTheFirst(t *testing.T) {
	b := newBench(t)
	b.join(1)
	b.joinAs(2, said(nil))
	if changes := recorded[*ledger.Change](b); len(changes) != 1 || changes[0].From != "" || changes[0].To != training {
		t.Fatalf("%+v", changes)
	}
	if _, is := b.joinAs(3, said(lr("0.01")))[0].(*protocol.Error); !is {
		t.Fatal("taken")
	}
}
