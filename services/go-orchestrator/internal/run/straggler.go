package run

import (
	"slices"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/tree"
)

// shard of the open step.
type shard struct {
	owner   uint32   // the worker whose result is, or will be, part of the sum; 0 is nobody
	holders []holder // who computes it now, in the order of their leases; the owner is among them once it has asked for it
	check   bool     // is to be computed by two workers, and only one has
	blownUp uint32   // the worker whose result was NaN or Inf; 0 is nobody
}

// holder is a worker's lease of a shard: until its result has arrived, or it asks for work again.
type holder struct {
	worker uint32
	since  time.Time
	of     int // shards that the lease had
}

// hold notes that a worker computes the shard from now on.
func (s *shard) hold(worker uint32, now time.Time, of int) {
	s.letGo(worker)
	s.holders = append(s.holders, holder{worker, now, of})
}

// letGo notes that a worker no longer computes the shard.
func (s *shard) letGo(worker uint32) {
	s.holders = slices.DeleteFunc(s.holders, func(h holder) bool { return h.worker == worker })
}

// letGoAll notes that a worker computes nothing: who asks for work has nothing in hand.
func (m *Machine) letGoAll(worker uint32) {
	for number := range m.step.shards {
		m.step.shards[number].letGo(worker)
	}
}

// furtherLease gives a worker that has nothing to do shards that others have as well: to settle a dispute, to check bits, or because all others
// are late.
func (m *Machine) furtherLease(w *worker) []uint32 {
	if shards := m.thirdLease(w); shards != nil {
		return shards
	}
	if shards := m.checkLease(w); shards != nil {
		return shards
	}
	return m.lateLease(w)
}

// checkLease gives shards that two workers are to compute and only one does.
func (m *Machine) checkLease(w *worker) []uint32 {
	var shards []uint32
	for number := range m.step.shards {
		s, first := &m.step.shards[number], m.computes(uint32(number))
		checked := slices.ContainsFunc(s.holders, func(h holder) bool { return h.worker != first })
		if s.check && !checked && s.owner != 0 && first != w.id {
			shards = append(shards, uint32(number))
		}
	}
	return shards
}

// lateLease gives what another worker is late with, all that it has not sent, so that both group the shards alike and their bits can be
// compared. The next worker that takes them can be late, too: the n-th one is waited for n times as long before the next is asked.
func (m *Machine) lateLease(w *worker) []uint32 {
	for _, owner := range m.workers {
		open := m.unfinished(owner.id)
		if owner == w || len(open) == 0 {
			continue
		}
		// One that has not come for its shards yet is waited for since the step was opened.
		since, pieces, times := m.step.opened, len(open), 1
		if holders := m.step.shards[open[0]].holders; len(holders) > 0 {
			last := holders[len(holders)-1]
			since, pieces, times = last.since, last.of, len(holders)
		}
		if m.lateness.late(m.now.Sub(since)/time.Duration(times), pieces, m.config.StragglerK) {
			m.overtakes += uint64(len(open))
			return open
		}
	}
	return nil
}

// observe notes how long a worker took for shards that it leased.
func (m *Machine) observe(w *worker, node tree.Node) {
	for _, h := range m.step.shards[node.First].holders {
		if h.worker == w.id && h.of > 0 {
			m.lateness.add(m.now.Sub(h.since), h.of)
		}
	}
}

// came notes that the result of shards has arrived: who sent it owns them now. Others that compute them may send theirs.
func (m *Machine) came(w *worker, node tree.Node) {
	for number := node.First; number < node.First+node.Count; number++ {
		s := &m.step.shards[number]
		s.letGo(w.id)
		s.owner = w.id
	}
}
