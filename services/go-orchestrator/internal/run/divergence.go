package run

import (
	"fmt"
	"strings"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// settleHead decides on the run's parameters after the last committed step, once it can.
func (m *Machine) settleHead() bool {
	a := &m.agreement
	if a.headHash != nil || len(a.reportedHashes) == 0 || m.state == Stopped {
		return false
	}
	switch what, winner := decide(a.reportedHashes, m.outstandingReports(), m.step.tree.Complete()); what {
	case undecided:
		return false
	case tied:
		m.recompute()
	case decided:
		m.acceptHead(winner.hash)
	}
	return true
}

// outstandingReports counts the workers whose report of the head is still to be waited for. One
// that takes much longer for it than anybody ever did is not: a worker that hangs must not hold up
// the run.
func (m *Machine) outstandingReports() int {
	count := 0
	for _, w := range m.roster.workers {
		if m.canReach(w) && !m.agreement.hasReported(w) && !m.step.requestTimes.overdue(m.now.Sub(w.answered)) {
			count++
		}
	}
	return count
}

// acceptHead makes a hash that of the run's parameters after the last committed step, completes
// that step's line of metrics, and sends those away who reported another one.
func (m *Machine) acceptHead(right protocol.Hash) {
	a := &m.agreement
	reports := append(a.contestedHashes, a.reportedHashes...)
	a.agree(right)
	steps := a.committed()
	for _, r := range reports {
		if r.hash == right && len(a.headFigures) == 0 {
			a.headFigures = loggedAfter(r.figures)
		}
	}
	m.completeLine(right, a.headFigures)
	for _, r := range reports {
		if r.hash == right {
			continue
		}
		for _, id := range r.workers {
			m.discardSums(id)
			m.diverge(id, steps, r.hash)
		}
	}
}

// recompute is for a tie, where nobody can say who holds the run's parameters: all who reported
// drop theirs, and the steps since the newest checkpoint are recomputed. Those who reported the
// hash that then comes out were right. A second tie shows that the same computation gives different
// bits: the promise is broken.
func (m *Machine) recompute() {
	a := &m.agreement
	var says []string
	for _, r := range a.reportedHashes {
		for _, id := range r.workers {
			says = append(says, fmt.Sprintf("worker %d (%s) has %s", id, m.roster.names[id], r.hash.Short()))
		}
	}
	detail := fmt.Sprintf("the workers hold different parameters after %d steps and none has a majority: %s; "+
		"they drop them, and the steps since the newest checkpoint are recomputed",
		a.committed(), strings.Join(says, ", "))
	m.incident(ledger.Divergence, 0, 0, nobody, detail)
	if a.ties++; a.ties > 1 {
		m.breakPromise(fmt.Sprintf(
			"the workers held different parameters %d times and none had a majority, the last time after %d steps: %s",
			a.ties, a.committed(), notDeterministic))
		if m.state == Stopped {
			return
		}
	}
	reports := a.reportedHashes
	a.contestedHashes, a.reportedHashes = append(a.contestedHashes, reports...), nil
	if !m.replaying() {
		m.restartStep()
	}
	for _, r := range reports {
		for _, id := range r.workers {
			m.dismiss(id, protocol.Errorf(protocol.Resync, "%s", detail))
		}
	}
}

// diverge sends a worker away whose parameters are not those of the run: the first time to be given
// the right ones, the second time for good.
func (m *Machine) diverge(id uint32, steps uint64, hash protocol.Hash) {
	reference, _ := m.agreement.reference(steps)
	name := m.roster.names[id]
	detail := fmt.Sprintf("the parameters of worker %d (%s) after %d steps have hash %s, those of the run %s", id, name,
		steps, hash.Short(), reference.Short())
	m.incident(ledger.Divergence, 0, 0, id, detail)
	m.roster.diverged[name]++
	if m.roster.diverged[name] > 1 {
		m.quarantine(id, detail+", and not for the first time")
		return
	}
	m.dismiss(id, protocol.Errorf(protocol.Resync, "%s; drop them and join again", detail))
}
