package server

import (
	"sync"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// allowance is how often something may happen on a connection that only costs time, before it is
// closed.
type allowance struct {
	what     string
	most     float64 // at once
	bySecond float64 // after that
}

// A worker whose request is refused stops or waits, and one that works sends a heartbeat now and
// then; a network that was interrupted may bring those of a while at once.
var (
	refusedRequests = allowance{"refused requests", 64, 4}
	heartbeats      = allowance{"heartbeats", 1000, 50}
)

// spent counts against an allowance. The loop and the reader of a connection use it.
type spent struct {
	allowance allowance
	mutex     sync.Mutex
	amount    float64
	at        time.Time
	tooMuch   bool
}

// take counts one more; false means that the connection is to be closed.
func (s *spent) take(now time.Time) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.amount = max(0, s.amount-max(0, now.Sub(s.at).Seconds())*s.allowance.bySecond) + 1
	s.at = now
	s.tooMuch = s.tooMuch || s.amount > s.allowance.most
	return !s.tooMuch
}

// exceeded reports whether there was too much at any time.
func (s *spent) exceeded() bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.tooMuch
}

// last is the last answer on a connection.
func (a allowance) last() *protocol.Error {
	return protocol.Errorf(protocol.Reconnect, "there were more %s than %v at once and %v a second; the connection is closed",
		a.what, a.most, a.bySecond)
}
