package run

import (
	"slices"
	"time"
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

// What nobody has ever done is late after so long: a first worker that hangs leaves nothing to compare with.
const firstPatience = 10 * time.Second

// add notes that so many pieces together took that long. One that hung for minutes does not make all others wait as long: each observation at
// most doubles what is known.
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

// late says whether so many pieces have taken longer than the median and k times the median absolute deviation of the others.
func (l *lateness) late(elapsed time.Duration, pieces int, k float64) bool {
	seconds := slices.Clone(l.seconds[:min(l.count, len(l.seconds))])
	if len(seconds) == 0 {
		return elapsed >= firstPatience
	}
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
	times := 2.0
	switch {
	case l.count == 0:
		return elapsed >= firstPatience
	case l.count < leastObservations:
		times = manyTimes
	}
	return elapsed >= leastLateness && elapsed.Seconds() > times*l.longest()
}

// middle sorts.
func middle(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
