package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pangea.example/pangea/services/go-orchestrator/internal/clock"
)

// progressTimeout is the longest pause inside a frame, and before the first one.
const progressTimeout = 30 * time.Second

// seenInterval is the shortest time between two reports to the machine that a peer is alive.
const seenInterval = 90 * time.Millisecond

// progress reads from a connection under a time limit, except while it is idle between two frames.
type progress struct {
	connection stream
	clock      clock.Clock
	received   prometheus.Counter
	idle       bool
	seen       func() // called when bytes arrived, at most once in each seenInterval
	last       time.Time
}

func (r *progress) Read(to []byte) (int, error) {
	deadline := time.Time{}
	if !r.idle {
		deadline = r.clock.Now().Add(progressTimeout)
	}
	if err := r.connection.SetReadDeadline(deadline); err != nil {
		return 0, err
	}
	n, err := r.connection.Read(to)
	r.idle = false
	r.received.Add(float64(n))
	if now := r.clock.Now(); n > 0 && now.Sub(r.last) >= seenInterval {
		r.last = now
		r.seen()
	}
	return n, err
}
