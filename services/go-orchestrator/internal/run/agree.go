package run

import (
	"fmt"
	"slices"
	"strings"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// claim is a hash that workers report for the parameters after the last committed step, while it is not settled which is the run's. A worker
// may be gone by then; its word counts all the same.
type claim struct {
	hash    protocol.Hash
	workers []uint32
}

// agree compares a worker's parameters with those of the run after as many steps, as far as these are known. After the last committed step
// nobody knows them yet: what the worker says is a claim (see decide).
func (m *Machine) agree(w *worker) bool {
	if reference, known := m.reference(w.step); known {
		return reference == w.hash
	}
	if w.lost {
		return false
	}
	if !m.claimed(w) {
		at := slices.IndexFunc(m.claims, func(c claim) bool { return c.hash == w.hash })
		if at < 0 {
			at = len(m.claims)
			m.claims = append(m.claims, claim{hash: w.hash})
		}
		m.claims[at].workers = append(m.claims[at].workers, w.id)
	}
	return true
}

func (m *Machine) claimed(w *worker) bool {
	return slices.ContainsFunc(m.claims, func(c claim) bool { return slices.Contains(c.workers, w.id) })
}

// decide says which parameters are the run's after the last committed step: those that most workers hold. One that computes on with others
// would spoil the next sum, so no step is closed before this is settled. It is settled as soon as a majority of the workers agree; where
// there is none, when all have spoken, or when the open step waits for nothing else.
func (m *Machine) decide() bool {
	if m.tip != nil || len(m.claims) == 0 || m.state == Stopped {
		return false
	}
	leading, voters, tie := m.claims[0], 0, false
	for _, c := range m.claims {
		voters += len(c.workers)
	}
	for _, c := range m.claims[1:] {
		switch {
		case len(c.workers) > len(leading.workers):
			leading, tie = c, false
		case len(c.workers) == len(leading.workers):
			tie = true
		}
	}
	majority := 2*len(leading.workers) > voters+m.outstanding()
	switch {
	case !majority && m.outstanding() > 0 && !m.step.tree.Complete():
		return false
	case tie:
		m.recompute()
	default:
		m.accept(leading)
	}
	return true
}

// outstanding counts the workers whose word is still to be waited for.
func (m *Machine) outstanding() int {
	count := 0
	for _, w := range m.workers {
		if !w.lost && w.here() && m.reachable(w.step) && !m.claimed(w) && !m.asking.overdue(m.now.Sub(w.answered)) {
			count++
		}
	}
	return count
}

// accept makes a claim the run's parameters after the last committed step, completes that step's line of metrics, and sends those away who
// say otherwise.
func (m *Machine) accept(right claim) {
	claims := append(m.doubted, m.claims...)
	m.claims, m.doubted = nil, nil
	m.tip = &right.hash
	steps := m.committed()
	m.agreed.steps, m.agreed.hash = steps, right.hash
	m.completeLine(right.hash)
	for _, c := range claims {
		if c.hash == right.hash {
			continue
		}
		for _, id := range c.workers {
			m.throwOut(id)
			m.diverge(id, steps, c.hash)
		}
	}
}

// recompute is for a tie: nobody can tell who holds the run's parameters. All that claim to drop theirs, and the steps since the newest checkpoint
// are computed again; what then comes out tells who was wrong.
func (m *Machine) recompute() {
	var says []string
	for _, c := range m.claims {
		for _, id := range c.workers {
			says = append(says, fmt.Sprintf("worker %d (%s) has %s", id, m.names[id], c.hash.Short()))
		}
	}
	detail := fmt.Sprintf("the workers hold different parameters after %d steps and none has a majority: %s; they drop them, and the steps since the newest checkpoint are computed again",
		m.committed(), strings.Join(says, ", "))
	m.incident(ledger.Divergence, 0, 0, nobody, detail)
	if m.ties++; m.ties > 1 {
		m.breaks(fmt.Sprintf("the workers held different parameters %d times and none had a majority, the last time after %d steps: %s", m.ties, m.committed(), notDeterministic))
		if m.state == Stopped {
			return
		}
	}
	claims := m.claims
	m.doubted, m.claims = append(m.doubted, claims...), nil
	if !m.replaying() {
		m.restartStep()
	}
	for _, c := range claims {
		for _, id := range c.workers {
			m.dismiss(id, protocol.Errorf(protocol.Resync, "%s", detail))
		}
	}
}

// diverge sends a worker away whose parameters are not those of the run: to be given others the first time, for good the second.
func (m *Machine) diverge(id uint32, steps uint64, hash protocol.Hash) {
	reference, _ := m.reference(steps)
	name := m.names[id]
	detail := fmt.Sprintf("the parameters of worker %d (%s) after %d steps have hash %s, those of the run %s", id, name, steps, hash.Short(), reference.Short())
	m.incident(ledger.Divergence, 0, 0, id, detail)
	m.diverged[name]++
	if m.diverged[name] > 1 {
		m.quarantine(id, detail+", and not for the first time")
		return
	}
	m.dismiss(id, protocol.Errorf(protocol.Resync, "%s; drop them and join again", detail))
}
