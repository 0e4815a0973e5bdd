// Package clock gives the time through an interface, so that tests can turn the hands themselves.
// It is the one place of the orchestrator that asks the machine for the time; //tools/lint/clocks
// enforces that.
package clock

import (
	"sync"
	"time"
)

// Clock tells the time and wakes who waits for it.
type Clock interface {
	Now() time.Time
	// After sends the time once, when this long has passed.
	After(pause time.Duration) <-chan time.Time
}

// System is the machine's clock.
type System struct{}

// Now gives the machine's time.
func (System) Now() time.Time { return time.Now() }

// After is that of package time.
func (System) After(pause time.Duration) <-chan time.Time { return time.After(pause) }

// Manual is a clock that moves only when it is told to. It is safe for use by several goroutines.
type Manual struct {
	mutex   sync.Mutex
	now     time.Time
	waiting []waiter
}

type waiter struct {
	until time.Time
	wake  chan time.Time
}

// NewManual makes a clock that stands at a time.
func NewManual(now time.Time) *Manual { return &Manual{now: now} }

// Now gives the time that was set.
func (m *Manual) Now() time.Time {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return m.now
}

// After sends the time when the clock was moved far enough.
func (m *Manual) After(pause time.Duration) <-chan time.Time {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	w := waiter{m.now.Add(pause), make(chan time.Time, 1)}
	m.waiting = append(m.waiting, w)
	m.wakeDue()
	return w.wake
}

// Advance moves the clock, and wakes whoever waited for that.
func (m *Manual) Advance(by time.Duration) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.now = m.now.Add(by)
	m.wakeDue()
}

func (m *Manual) wakeDue() {
	var left []waiter
	for _, w := range m.waiting {
		if w.until.After(m.now) {
			left = append(left, w)
		} else {
			w.wake <- m.now
		}
	}
	m.waiting = left
}
