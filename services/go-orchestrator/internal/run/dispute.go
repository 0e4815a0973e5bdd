package run

import (
	"fmt"
	"slices"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/tree"
)

// dispute is about shards of the open step for which two workers sent different bits. A third one
// computes them: who of the two differs from it was wrong.
type dispute struct {
	first  *tree.Contribution // the one that is part of the sum
	other  uint32             // the worker that sent different bits
	result *tree.Contribution // with these
	third  uint32             // who computes them now, or nobody
}

// disputed returns the dispute about a contribution, or nil.
func (s *step) disputed(first *tree.Contribution) *dispute {
	for _, d := range s.disputes {
		if d.first == first {
			return d
		}
	}
	return nil
}

func (s *step) settled(d *dispute) {
	s.disputes = slices.DeleteFunc(s.disputes, func(other *dispute) bool { return other == d })
}

// result is what an update says of its shards.
func result(u *protocol.Update) *tree.Contribution {
	return &tree.Contribution{Digest: u.Digest, Reports: u.Reports}
}

// inDoubt reports whether a complete sum has to wait for a comparison that somebody can make. Where
// nobody is left to settle a dispute, the first result counts, and the incident says so.
func (m *Machine) inDoubt() bool {
	s := &m.step
	for _, d := range s.disputes {
		if m.another(d.first.Worker, d.other) {
			return true
		}
	}
	disputes := s.disputes
	s.disputes = nil
	for _, d := range disputes {
		m.incident(ledger.Conflict, d.first.Node.First, d.first.Node.Count, nobody,
			fmt.Sprintf("no worker is left to determine whether worker %d or %d is wrong about %s of step %d; "+
				"the first result, from worker %d, counts", d.first.Worker, d.other, d.first.Node, s.number, d.first.Worker))
	}
	if len(disputes) > 0 {
		d := disputes[0]
		m.breakPromise(fmt.Sprintf("workers %d and %d computed different bits for %s of step %d, "+
			"and no worker is left to determine which is wrong: %s", d.first.Worker, d.other, d.first.Node, s.number,
			notDeterministic))
		if m.state == Stopped {
			return true
		}
	}
	for number := range s.shards {
		if s.shards[number].check && m.another(s.computes(uint32(number))) {
			return true
		}
	}
	return false
}

// another reports whether a worker other than those named could compute shards of the open step.
func (m *Machine) another(than ...uint32) bool {
	return m.roster.any(func(w *worker) bool { return m.canReach(w) && !slices.Contains(than, w.id) })
}

// compared draws the conclusions from an update of shards whose first result is there.
func (m *Machine) compared(w *worker, node tree.Node, verdict protocol.Verdict, u *protocol.Update) {
	switch {
	case verdict == protocol.Conflict && u.Step < m.step.number:
		if m.roster.repeats(w, u.Step) {
			return
		}
		m.incident(ledger.Conflict, node.First, node.Count, w.id, fmt.Sprintf(
			"%s of closed step %d arrived with different bits than those that count; "+
				"it can no longer be determined who is wrong", node, u.Step))
	case verdict == protocol.Conflict:
		m.onConflict(w, node, u)
	case verdict == protocol.Duplicate:
		first := m.step.tree.At(node.First)
		if w.id != first.Worker {
			m.step.checked(node)
		}
		if d := m.step.disputed(first); d != nil && d.third == w.id {
			m.step.settled(d)
			m.quarantine(d.other, fmt.Sprintf("worker %d sent different bits for %s of step %d than workers %d and %d", d.other,
				node, u.Step, first.Worker, w.id))
		}
	}
}

// onConflict handles a result that differs from the first one. The second worker's opens a dispute;
// the third worker's ends it: if it agrees with the second, the first was wrong and its part in the
// sum is discarded; if it agrees with neither, the computation is not deterministic.
func (m *Machine) onConflict(w *worker, node tree.Node, u *protocol.Update) {
	first := m.step.tree.At(node.First)
	m.step.checked(node)
	d := m.step.disputed(first)
	if d == nil {
		if w.id == first.Worker && m.roster.repeats(w, u.Step) {
			return
		}
		m.conflict(node, w.id, first.Worker, fmt.Sprintf("workers %d and %d sent different bits for %s of step %d",
			first.Worker, w.id, node, u.Step))
		if w.id != first.Worker {
			m.step.disputes = append(m.step.disputes, &dispute{first: first, other: w.id, result: result(u)})
		}
		return
	}
	if d.third != w.id {
		return
	}
	m.step.settled(d)
	if !d.result.SameResult(result(u)) {
		m.incident(ledger.Conflict, node.First, node.Count, w.id,
			fmt.Sprintf("three workers (%d, %d, %d) sent three results for %s of step %d; "+
				"an operation of the model is not deterministic", first.Worker, d.other, w.id, node, u.Step))
		m.breakPromise(fmt.Sprintf("three workers (%d, %d, %d) computed three results for %s of step %d: %s", first.Worker,
			d.other, w.id, node, u.Step, notDeterministic))
		return
	}
	m.restartStep()
	m.quarantine(first.Worker, fmt.Sprintf(
		"worker %d sent different bits for %s of step %d than workers %d and %d; the step is recomputed without it",
		first.Worker, node, u.Step, d.other, w.id))
}
