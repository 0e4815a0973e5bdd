package server

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pangea.example/pangea/services/go-orchestrator/internal/clock"
)

// Pace is how long a peer may take. Whoever does not keep it is disconnected: its place and its
// memory are wanted by others.
type Pace struct {
	First time.Duration // until its first message begins
	Join  time.Duration // until it has joined
	// In a frame, and in a message of several frames, beside what LeastRate gives for the bytes that
	// have arrived. A pause inside of a frame alone would let one byte in each pause hold everything.
	Message   time.Duration
	LeastRate int64         // bytes a second
	Idle      time.Duration // between messages, of a worker that promises no heartbeats
	// The same in heartbeats, of one that promises them, and at least LeastIdle: a process may be
	// paused for a while.
	IdleHeartbeats int
	LeastIdle      time.Duration
}

// DefaultPace is for networks that people train over.
func DefaultPace() Pace {
	return Pace{First: 10 * time.Second, Join: 30 * time.Second, Message: 30 * time.Second, LeastRate: 32 << 10,
		Idle: 15 * time.Minute, IdleHeartbeats: 30, LeastIdle: time.Minute}
}

// seenInterval is the shortest time between two reports to the machine that a peer is alive.
const seenInterval = 90 * time.Millisecond

// paced reads from a connection under the limits of a Pace. One goroutine uses it; joined may be
// set by others.
type paced struct {
	connection stream
	clock      clock.Clock
	pace       Pace
	received   prometheus.Counter
	seen       func() // called when bytes arrived, at most once in each seenInterval
	opened     time.Time
	joined     atomic.Bool

	heartbeat time.Duration // that the worker promised
	last      time.Time     // when bytes arrived
	reported  time.Time     // when seen was called
	begun     bool          // a message has begun, at any time
	frame     span          // the frame that is arriving
	message   span          // the message in several frames that is arriving
}

// span is something that has begun to arrive.
type span struct {
	from  time.Time // zero while nothing arrives
	bytes int64
}

// end is when a span has taken too long.
func (s span) end(p Pace) time.Time {
	return s.from.Add(p.Message + time.Duration(float64(s.bytes)/float64(p.LeastRate)*float64(time.Second)))
}

// tooSlowError says which limit a peer did not keep.
type tooSlowError struct{ reason string }

func (e *tooSlowError) Error() string { return e.reason }

// newPaced starts the time of a connection.
func newPaced(connection stream, clock clock.Clock, pace Pace, received prometheus.Counter, seen func()) *paced {
	now := clock.Now()
	return &paced{connection: connection, clock: clock, pace: pace, received: received, seen: seen, opened: now, last: now}
}

// between notes that a whole frame was read: buffered says that the next one has begun, open that
// its message continues in it.
func (r *paced) between(buffered, open bool) {
	now := r.clock.Now()
	r.frame = span{}
	if buffered {
		r.frame.from = now
	}
	if !open {
		r.message = span{}
	} else if r.message.from.IsZero() {
		r.message.from = now
	}
}

// limit is when the peer must have sent more, and why.
func (r *paced) limit() (at time.Time, why string) {
	sooner := func(then time.Time, because string) {
		if at.IsZero() || then.Before(at) {
			at, why = then, because
		}
	}
	if !r.frame.from.IsZero() {
		sooner(r.frame.end(r.pace), fmt.Sprintf("a frame took longer than %v and arrived with less than %d bytes a second",
			r.pace.Message, r.pace.LeastRate))
	}
	if !r.message.from.IsZero() {
		sooner(r.message.end(r.pace), fmt.Sprintf("a message was not completed in %v and at %d bytes a second",
			r.pace.Message, r.pace.LeastRate))
	}
	switch {
	case r.joined.Load():
		sooner(r.last.Add(r.idle()), fmt.Sprintf("no data arrived for %v", r.idle()))
	case !r.begun:
		sooner(r.opened.Add(r.pace.First), fmt.Sprintf("no message arrived within %v", r.pace.First))
	default:
		sooner(r.opened.Add(r.pace.Join), fmt.Sprintf("the worker has not joined within %v", r.pace.Join))
	}
	return at, why
}

// idle is how long a worker that has joined may be silent.
func (r *paced) idle() time.Duration {
	if r.heartbeat == 0 {
		return r.pace.Idle
	}
	return max(r.pace.LeastIdle, time.Duration(r.pace.IdleHeartbeats)*r.heartbeat)
}

// Read reads what has arrived, or waits for it as long as the peer may take.
func (r *paced) Read(to []byte) (int, error) {
	for {
		limit, why := r.limit()
		if err := r.connection.SetReadDeadline(limit); err != nil {
			return 0, err
		}
		n, err := r.connection.Read(to)
		if n > 0 {
			r.arrived(n)
		} else if errors.Is(err, os.ErrDeadlineExceeded) {
			if later, _ := r.limit(); later.After(limit) {
				continue // it has joined meanwhile
			}
			err = &tooSlowError{why}
		}
		return n, err
	}
}

func (r *paced) arrived(bytes int) {
	now := r.clock.Now()
	r.received.Add(float64(bytes))
	r.last, r.begun = now, true
	if r.frame.from.IsZero() {
		r.frame.from = now
	}
	r.frame.bytes += int64(bytes)
	if !r.message.from.IsZero() {
		r.message.bytes += int64(bytes)
	}
	if now.Sub(r.reported) >= seenInterval {
		r.reported = now
		r.seen()
	}
}
