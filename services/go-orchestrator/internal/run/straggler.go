package run

import (
	"slices"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/tree"
)

// lateness knows how long something usually takes.
type lateness struct {
	seconds [64]float64 // of one piece, the last observations
	count   int
}

// Nothing is late before it has taken so long. Below so many observations they say little, and only what has taken many times as long as the longest of them is late.
const (
	leastLateness     = 200 * time.Millisecond
	leastObservations = 8
	manyTimes         = 10
)

// add notes that so many pieces together took that long.
func (l *lateness) add(took time.Duration, pieces int) {
	l.seconds[l.count%len(l.seconds)] = took.Seconds() / float64(pieces)
	l.count++
}

// late says whether so many pieces have taken longer than the median and k times the median absolute deviation of the others.
func (l *lateness) late(elapsed time.Duration, pieces int, k float64) bool {
	seconds := slices.Clone(l.seconds[:min(l.count, len(l.seconds))])
	if len(seconds) < leastObservations {
		return l.overdue(elapsed / time.Duration(max(1, pieces)))
	}
	median := middle(seconds)
	for i := range seconds {
		seconds[i] = max(seconds[i]-median, median-seconds[i])
	}
	return elapsed >= leastLateness && elapsed.Seconds() > float64(pieces)*(median+k*middle(seconds))
}

// overdue says whether one piece has taken several times as long as the longest of the others: for what comes in several kinds, of which the
// median says nothing.
func (l *lateness) overdue(elapsed time.Duration) bool {
	seconds := l.seconds[:min(l.count, len(l.seconds))]
	times := 2.0
	if len(seconds) < leastObservations {
		times = manyTimes
	}
	return len(seconds) > 0 && elapsed >= leastLateness && elapsed.Seconds() > times*slices.Max(seconds)
}

// middle sorts.
func middle(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// secondLease gives a worker that has nothing to do shards that another one has as well: to settle a dispute, to check bits, or because the
// other one is late. What is late comes with all that its owner has not sent, so that both group the shards alike and their bits can be compared.
func (m *Machine) secondLease(w *worker) []uint32 {
	if shards := m.thirdLease(w); shards != nil {
		return shards
	}
	var shards []uint32
	for number := range m.step.shards {
		s := &m.step.shards[number]
		if s.check && s.second == 0 && s.owner != 0 && m.computes(uint32(number)) != w.id {
			s.second, s.again = w.id, m.now
			shards = append(shards, uint32(number))
		}
	}
	if len(shards) > 0 {
		return shards
	}
	for _, owner := range m.workers {
		open := m.unfinished(owner.id)
		if owner == w || len(open) == 0 {
			continue
		}
		// One that has not come for its shards yet is waited for since the step was opened.
		oldest := m.step.shards[open[0]]
		since, pieces := oldest.since, oldest.of
		if since.IsZero() {
			since, pieces = m.step.opened, len(open)
		}
		if oldest.second != 0 || !m.lateness.late(m.now.Sub(since), pieces, m.config.StragglerK) {
			continue
		}
		for _, number := range open {
			m.step.shards[number].second, m.step.shards[number].again = w.id, m.now
		}
		m.overtakes += uint64(len(open))
		return open
	}
	return nil
}

// observe notes how long a worker took for shards that it leased.
func (m *Machine) observe(w *worker, node tree.Node) {
	s := m.step.shards[node.First]
	since := s.since
	if s.second == w.id {
		since = s.again
	} else if s.owner != w.id {
		return
	}
	if !since.IsZero() && s.of > 0 {
		m.lateness.add(m.now.Sub(since), s.of)
	}
}

// overtaken notes that shards have come from another worker than their owner: it owns them now, and the one that was to compute them is the
// second, if it has begun.
func (m *Machine) overtaken(w *worker, node tree.Node) {
	for number := node.First; number < node.First+node.Count; number++ {
		s := &m.step.shards[number]
		if s.owner == w.id {
			continue
		}
		s.second = 0
		if !s.since.IsZero() {
			s.second = s.owner
		}
		s.owner = w.id
	}
}
