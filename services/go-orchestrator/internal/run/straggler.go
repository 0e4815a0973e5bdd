package run

import (
	"slices"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/tree"
)

// lateness knows how long a shard takes.
type lateness struct {
	seconds [64]float64 // of one shard, of the last updates
	count   int
}

// Below so many observations, and below so long, nothing is late.
const (
	leastObservations = 8
	leastLateness     = 200 * time.Millisecond
)

func (l *lateness) add(now time.Time, s shard) {
	if s.since.IsZero() || s.of == 0 {
		return
	}
	l.seconds[l.count%len(l.seconds)] = now.Sub(s.since).Seconds() / float64(s.of)
	l.count++
}

// late says whether a shard has taken longer than the median and k times the median absolute deviation of the others.
func (l *lateness) late(now time.Time, s shard, k float64) bool {
	n := min(l.count, len(l.seconds))
	elapsed := now.Sub(s.since)
	if n < leastObservations || elapsed < leastLateness {
		return false
	}
	seconds := slices.Clone(l.seconds[:n])
	median := middle(seconds)
	for i := range seconds {
		seconds[i] = max(seconds[i]-median, median-seconds[i])
	}
	return elapsed.Seconds() > float64(s.of)*(median+k*middle(seconds))
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
			s.second = w.id
			shards = append(shards, uint32(number))
		}
	}
	if len(shards) > 0 {
		return shards
	}
	for _, owner := range m.workers {
		open := m.unfinished(owner.id)
		if owner == w || len(open) == 0 || m.step.shards[open[0]].second != 0 || !m.lateness.late(m.now, m.step.shards[open[0]], m.config.StragglerK) {
			continue
		}
		for _, number := range open {
			m.step.shards[number].second = w.id
		}
		return open
	}
	return nil
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
