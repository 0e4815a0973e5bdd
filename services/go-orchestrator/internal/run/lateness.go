package run

import (
	"slices"
	"time"
)

// lateness judges how long something takes by how long it took before: it keeps the last
// observations. The zero value has none.
type lateness struct {
	seconds [64]float64 // for one piece: a ring, of which the first min(count, 64) entries are filled
	count   int         // observations ever made
}

const (
	// Nothing is late before this: a second lease costs more than such a wait.
	leastLateness     = 200 * time.Millisecond
	leastObservations = 8  // fewer say little about what is usual
	manyTimes         = 10 // times the longest of a few observations is late
)

// firstPatience is after how long something is late that nobody has ever done: a first worker that
// hangs leaves nothing to compare with.
const firstPatience = 10 * time.Second

// add notes how long some pieces took together. One that hung for minutes must not make all others
// wait as long, so each observation at most doubles the longest that is known.
func (l *lateness) add(took time.Duration, pieces int) {
	seconds := took.Seconds() / float64(pieces)
	if l.count >= leastObservations {
		seconds = min(seconds, max(2*l.longest(), leastLateness.Seconds()))
	}
	l.seconds[l.count%len(l.seconds)] = seconds
	l.count++
}

// longest of the last observations; 0 if there is none.
func (l *lateness) longest() float64 {
	return slices.Max(l.seconds[:])
}

// late says whether some pieces have taken longer than median + k * MAD of the observations, times
// their number. MAD is the median absolute deviation: the median of the distances from the median.
func (l *lateness) late(elapsed time.Duration, pieces int, k float64) bool {
	seconds := slices.Clone(l.seconds[:min(l.count, len(l.seconds))])
	if len(seconds) == 0 {
		return elapsed >= firstPatience
	}
	if len(seconds) < leastObservations {
		return l.overdue(elapsed / time.Duration(max(1, pieces)))
	}
	center := median(seconds)
	for i := range seconds {
		seconds[i] = max(seconds[i]-center, center-seconds[i])
	}
	return elapsed >= leastLateness && elapsed.Seconds() > float64(pieces)*(center+k*median(seconds))
}

// overdue says whether one piece has taken several times as long as the longest of the
// observations: for what is of several kinds, so that the median says nothing about any of them.
func (l *lateness) overdue(elapsed time.Duration) bool {
	times := 2.0
	switch {
	case l.count == 0:
		return elapsed >= firstPatience
	case l.count < leastObservations:
		times = manyTimes
	}
	return elapsed >= leastLateness && elapsed.Seconds() > times*l.longest()
}

// median gives the median of at least one value, and sorts them. Of an even number it is the upper
// one of the two in the middle, element n/2 counted from 0, and not their mean. This is the
// definition in all of Pangea: the simulated histories depend on it, and the workers' data client
// (native/core/lateness.rs) follows it.
func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
