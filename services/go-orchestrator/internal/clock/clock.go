// Package clock gives the time through an interface, so that tests and simulations can turn the hands themselves.
package clock

import "time"

// Clock tells the time.
type Clock interface {
	Now() time.Time
}

// System is the machine's clock.
type System struct{}

// Now gives the machine's time.
func (System) Now() time.Time { return time.Now() }

// Manual is a clock that moves only when it is told to. It is not safe for use by several goroutines.
type Manual struct{ Time time.Time }

// Now gives the time that was set.
func (m *Manual) Now() time.Time { return m.Time }

// Advance moves the clock.
func (m *Manual) Advance(by time.Duration) { m.Time = m.Time.Add(by) }
