package server

import (
	"pangea.example/pangea/services/go-orchestrator/internal/failpoint"
	"pangea.example/pangea/services/go-orchestrator/internal/run"
)

// smallSum is how many elements are added in the loop itself (256 KiB of each operand): that takes
// no longer than handing them to another goroutine.
const smallSum = 64 << 10

// sum adds up beside the loop, which handles other events meanwhile.
func (s *Server) sum(e run.Sum) {
	work := s.adder.Begin(e.Sum)
	add := func() run.Summed {
		summed := run.Summed{Generation: e.Generation, Result: work.Finish()}
		e.Sum.Release()
		s.config.Hit(failpoint.SumAfter)
		return summed
	}
	s.streaming.work, s.streaming.bulk = nil, nil
	if e.Sum.Operands[0].Gradients.Elements() <= smallSum {
		s.small = append(s.small, add())
		return
	}
	if e.Sum.Whole {
		s.streaming.work = work
	}
	go func() { s.post(add()) }()
}
