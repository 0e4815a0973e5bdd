package server

import "pangea.example/pangea/services/go-orchestrator/internal/run"

// posted is an event on its way to the loop.
type posted struct {
	event   run.Event
	handled func() // called when the loop is done with it; nil for nothing
}

// post passes an event to the loop, unless that has ended.
func (s *Server) post(event run.Event) { s.postCharged(posted{event: event}) }

// postCharged passes an event that holds memory until it is handled.
func (s *Server) postCharged(p posted) {
	select {
	case s.events <- p:
	case <-s.done:
		p.finish()
	}
}

func (s *Server) handlePosted(p posted) {
	s.handle(p.event)
	p.finish()
}

func (p posted) finish() {
	if p.handled != nil {
		p.handled()
	}
}
