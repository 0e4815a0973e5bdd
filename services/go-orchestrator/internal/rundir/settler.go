package rundir

import (
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/clock"
	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
)

// How long no commit may follow before the slot of the last one is written apart from it. Steps
// that are faster than that never wait for a slot.
const settleAfter = 20 * time.Millisecond

// settler has the ledger write the slot of the last commit once no other one follows, beside the
// event loop.
type settler struct {
	ledger    *ledger.Ledger
	clock     clock.Clock
	committed chan struct{} // has an element when something was committed
	ending    chan struct{}
	ended     chan struct{}
}

func startSettler(of *ledger.Ledger, clock clock.Clock) *settler {
	s := &settler{of, clock, make(chan struct{}, 1), make(chan struct{}), make(chan struct{})}
	go s.run()
	return s
}

// note that something was committed.
func (s *settler) note() {
	select {
	case s.committed <- struct{}{}:
	default:
	}
}

func (s *settler) run() {
	defer close(s.ended)
	for s.wait() {
		_ = s.ledger.Settle() // its error is that of the next commit, too
	}
}

// wait returns once the ledger has been idle after a commit; false when the settler is to end.
func (s *settler) wait() bool {
	select {
	case <-s.committed:
	case <-s.ending:
		return false
	}
	for {
		select {
		case <-s.clock.After(settleAfter):
		case <-s.ending:
			return false
		}
		select {
		case <-s.committed:
		default:
			return true
		}
	}
}

// end returns when the settler does nothing any more.
func (s *settler) end() {
	close(s.ending)
	<-s.ended
}
