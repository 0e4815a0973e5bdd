package server

import (
	"pangea.example/pangea/services/go-orchestrator/internal/adder"
	"pangea.example/pangea/services/go-orchestrator/internal/failpoint"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/run"
	"pangea.example/pangea/services/go-orchestrator/internal/vector"
	"pangea.example/pangea/services/go-orchestrator/internal/wire"
)

// streaming is the sum that is being made, as far as peers are being sent it. It is used by the
// loop alone.
type streaming struct {
	work *adder.Work // nil where none is made that is worth it
	bulk *wire.Bulk  // its frames without the final one, once there is a stream
	open map[run.Peer]*streamed
}

// streamed is a reply whose frames are sent as the sum is made; its last one says what became of
// it.
type streamed struct {
	work   *adder.Work
	bulk   *wire.Bulk
	blocks []int // by frame: the block that it is in
	about  protocol.Aggregate

	ended  chan struct{} // closed when the sum is committed or abandoned; the others are set before
	final  bool          // it is committed
	last   wire.Frame
	failed error // why there is no last frame
}

// Frame waits for a frame. One that ends the stream is the last.
func (s *streamed) Frame(i int) (frame wire.Frame, last bool, err error) {
	if i < len(s.blocks) {
		select {
		case <-s.work.Done(s.blocks[i]):
		case <-s.ended:
			if !s.final {
				return s.last, true, s.failed
			}
		}
		frame, err = s.bulk.Frame(i)
		return frame, false, err
	}
	<-s.ended
	return s.last, true, s.failed
}

// stream begins to send the sum that is being made to a peer, if it can be.
func (s *Server) stream(e run.Stream) {
	p := s.peer(e.Peer)
	if s.streaming.work == nil || p == nil || p.sharing != nil {
		return // A worker on this machine reads the whole sum where it is, after the commit.
	}
	e.Aggregate.Gradients = s.streaming.work.Sum()
	if s.streaming.bulk == nil {
		s.streaming.bulk = wire.NewStreamed(&e.Aggregate, s.machine.Layout(), s.cut)
	}
	started := &streamed{work: s.streaming.work, bulk: s.streaming.bulk, blocks: make([]int, len(s.cut)),
		ended: make(chan struct{}), about: e.Aggregate}
	for i, pieces := range s.cut {
		started.blocks[i] = pieces[0].From / vector.BlockElements
	}
	s.streaming.open[e.Peer] = started
	p.put(outgoing{frames: started, request: e.Request, release: e.Aggregate.Gradients.Retain().Release})
}

// finishStream ends the stream to a peer, if there is one, and reports whether that has answered
// it: it has if the reply is what was streamed.
func (s *Server) finishStream(peer run.Peer, reply protocol.Reply) bool {
	open := s.streaming.open[peer]
	if open == nil {
		return false
	}
	delete(s.streaming.open, peer)
	if aggregate, is := reply.(*protocol.Aggregate); is && aggregate.Gradients == open.about.Gradients {
		s.config.Hit(failpoint.StreamBeforeFinal)
		open.final = true
		open.end(wire.EncodeFinal(aggregate))
		return true
	}
	open.end(wire.EncodeAbandoned(&open.about))
	return false
}

// abandonStreams ends all streams without their sum.
func (s *Server) abandonStreams() {
	for peer := range s.streaming.open {
		s.finishStream(peer, nil)
	}
}

// end lets the last frame be sent. One that cannot be encoded ends the connection.
func (s *streamed) end(last wire.Frame, err error) {
	s.last, s.failed = last, err
	close(s.ended)
}
