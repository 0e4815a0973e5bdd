package run

import (
	"slices"
	"time"
)

// secondLease gives a worker that has nothing to do shards that others have as well: to settle a
// dispute, to compare bits, or because the others are late.
func (m *Machine) secondLease(w *worker) []uint32 {
	if shards := m.step.thirdLease(w.id); shards != nil {
		return shards
	}
	if shards := m.step.checkLease(w.id); shards != nil {
		return shards
	}
	shards := m.step.lateLease(w, m.roster.workers, m.now, m.config.StragglerK)
	m.figures.overtakes += uint64(len(shards))
	return shards
}

// thirdLease gives the shards of a dispute to a worker that has no part in it.
func (s *step) thirdLease(worker uint32) []uint32 {
	for _, d := range s.disputes {
		if d.third != nobody || worker == d.first.Worker || worker == d.other {
			continue
		}
		d.third = worker
		var shards []uint32
		for number := d.first.Node.First; number < d.first.Node.First+d.first.Node.Count; number++ {
			shards = append(shards, number)
		}
		return shards
	}
	return nil
}

// checkLease gives shards that two workers are to compute and only one does.
func (s *step) checkLease(worker uint32) []uint32 {
	var shards []uint32
	for number := range s.shards {
		shard, first := &s.shards[number], s.computes(uint32(number))
		beingChecked := slices.ContainsFunc(shard.holders, func(h holder) bool { return h.worker != first })
		if shard.check && !beingChecked && shard.owner != nobody && first != worker {
			shards = append(shards, uint32(number))
		}
	}
	return shards
}

// lateLease gives what another worker is late with: all that it has not sent, so that both group
// the shards alike and their bits can be compared. The worker that takes them over can be late,
// too: the n-th one is waited for n times as long before the next is asked.
func (s *step) lateLease(w *worker, workers []*worker, now time.Time, k float64) []uint32 {
	for _, owner := range workers {
		open := s.unfinished(owner.id)
		if owner == w || len(open) == 0 {
			continue
		}
		// One that has not asked for its shards yet is waited for since the step was opened.
		since, pieces, times := s.opened, len(open), 1
		if holders := s.shards[open[0]].holders; len(holders) > 0 {
			last := holders[len(holders)-1]
			since, pieces, times = last.since, last.of, len(holders)
		}
		if s.shardTimes.late(now.Sub(since)/time.Duration(times), pieces, k) {
			return open
		}
	}
	return nil
}
