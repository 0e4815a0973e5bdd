package server

import (
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Longest pause inside a frame, and before the first one.
const progressTimeout = 30 * time.Second

// progress reads from a connection under a time limit, except while it is idle between two frames.
type progress struct {
	connection *net.TCPConn
	received   prometheus.Counter
	idle       bool
}

func (r *progress) Read(to []byte) (int, error) {
	deadline := time.Time{}
	if !r.idle {
		deadline = time.Now().Add(progressTimeout)
	}
	if err := r.connection.SetReadDeadline(deadline); err != nil {
		return 0, err
	}
	n, err := r.connection.Read(to)
	r.idle = false
	r.received.Add(float64(n))
	return n, err
}
