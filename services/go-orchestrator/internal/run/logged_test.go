package run

import (
	"maps"
	"math"
	"testing"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

type logged = map[string]ledger.Float

// logIn gives the reports of an update figures, by shard.
func logIn(u protocol.Update, figures ...[]protocol.Figure) protocol.Update {
	for i := range u.Reports {
		u.Reports[i].Figures = figures[i]
	}
	return u
}

// same takes what is not a number, and becomes null, for equal.
func same(a, b ledger.Float) bool { return a == b || a != a && b != b }

func figure(name string, value float64) protocol.Figure {
	return protocol.Figure{Name: name, Value: value}
}

// askLogging reports what a script logged after its last step.
func (b *bench) askLogging(peer Peer, step uint64, figures ...protocol.Figure) {
	b.request++
	b.handle(WorkRequested{Peer: peer, Request: b.request,
		Work: protocol.Work{Step: step, ParametersHash: hashAt(step), Figures: figures}})
}

func (b *bench) wantLogged(line int, want logged) {
	b.t.Helper()
	if got := b.lines[line].Figures; !maps.EqualFunc(got, want, same) {
		b.t.Fatalf("line %d has the figures %v; want %v", line, got, want)
	}
}

func TestAFigureIsTheMeanOverTheShardsThatHaveItByTheirWeights(t *testing.T) {
	for _, test := range []struct {
		scenario string
		first    uint32 // shards that the first worker computes
	}{{"one worker", 4}, {"two workers", 2}} {
		t.Run(test.scenario, func(t *testing.T) {
			b := newBench(t)
			b.join(1)
			b.ask(1, 0)
			b.take(1)
			u := logIn(b.update(0, 0, 4, 1), []protocol.Figure{figure("accuracy", 0.1), figure("rare", 7)},
				[]protocol.Figure{figure("accuracy", 0.7), figure("same", 0.1)},
				[]protocol.Figure{figure("accuracy", 0.2), figure("same", 0.1)},
				[]protocol.Figure{figure("accuracy", math.Inf(1)), figure("rate", 3)})
			for i, weight := range []float64{1, 3, 1, 0} {
				u.Reports[i].Weight = weight
			}
			reports := u.Reports
			if test.first == 4 {
				b.submit(1, u)
			} else {
				u.Gradients.Release()
				for _, first := range []uint32{2, 0} {
					half := b.update(0, first, 2, 1)
					half.Reports = reports[first : first+2]
					b.submit(1, half)
				}
			}
			b.ask(1, 0)
			b.ask(1, 1)
			// In the tree: (0.1 * 1 + 0.7 * 3) + (0.2 * 1 + nothing), over 5.
			// Not as constants, which Go adds without rounding.
			accuracies := []float64{0.1, 0.7, 0.2}
			accuracy := ((accuracies[0] + accuracies[1]*3) + accuracies[2]) / 5
			b.wantLogged(0, logged{"accuracy": ledger.Float(accuracy), "rare": 7, "rate": 3, "same": 0.1})
			if got := b.machine.Status().Figures; !maps.EqualFunc(got, b.lines[0].Figures, same) {
				t.Fatalf("the status has %v", got)
			}
		})
	}
}

func TestAFigureOfTheWholeStepIsThatOfAWorkerThatHoldsTheRunsParameters(t *testing.T) {
	b := newBench(t)
	b.join(1)
	b.join(2)
	b.join(3)
	b.ask(1, 0)
	b.take(1)
	b.submit(1, logIn(b.update(0, 0, 4, 1), []protocol.Figure{figure("norm", 1)}, nil, nil, nil))
	for peer := Peer(1); peer <= 3; peer++ {
		b.ask(peer, 0)
	}
	b.request++
	b.handle(WorkRequested{Peer: 3, Request: b.request, Work: protocol.Work{Step: 1,
		ParametersHash: protocol.Hash{13}, Figures: []protocol.Figure{figure("norm", 13)}}})
	b.askLogging(2, 1, figure("norm", 2))
	b.askLogging(1, 1, figure("norm", 2))
	b.wantLogged(0, logged{"norm": 2})
}

// Neither a step's own figures nor those that were logged after it may be lost with metrics.jsonl,
// which is not synced.
func TestFiguresAreRestoredFromTheLedger(t *testing.T) {
	b := newBench(t)
	b.join(1)
	for step := range uint64(3) {
		b.askLogging(1, step, figure("after", float64(step)))
		b.take(1)
		each := []protocol.Figure{figure("in", float64(step))}
		b.submit(1, logIn(b.update(step, 0, 4, 1), each, each, each, each))
		b.ask(1, step)
		b.take(1)
	}
	b.askLogging(1, 3, figure("after", 3))
	want := b.lines
	if len(want) != 3 || !maps.Equal(want[2].Figures, logged{"in": 2, "after": 3}) {
		t.Fatalf("%+v", want)
	}
	b.lines = nil
	b.reopen()
	for i := range want {
		b.wantLogged(i, want[i].Figures)
	}
}

func TestAStepShowsNoMoreFiguresThanAReportMayHave(t *testing.T) {
	reports := make([]protocol.Report, 2)
	for i := range 64 {
		reports[0].Figures = append(reports[0].Figures, figure(string(rune('A'+i)), 1))
		reports[1].Figures = append(reports[1].Figures, figure(string(rune('a'+100+i)), 1))
	}
	if got := figuresOf(reports); len(got) != 64 {
		t.Fatalf("%d figures", len(got))
	}
}
