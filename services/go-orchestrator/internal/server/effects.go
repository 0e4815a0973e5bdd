package server

import (
	"context"

	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/run"
	"pangea.example/pangea/services/go-orchestrator/internal/wire"
)

// handle gives the machine an event and carries out what it wants done.
func (s *Server) handle(event run.Event) {
	for _, effect := range s.machine.Handle(s.config.Clock.Now(), event) {
		switch e := effect.(type) {
		case run.Send:
			s.send(e)
		case run.WriteMetrics:
			s.config.Metrics.StepSeconds.Observe(float64(e.Line.Seconds))
			s.check("metrics.jsonl", s.config.Files.Append(e.Line))
		case run.WriteRecord:
			s.write(e.Record)
		case run.Closed:
			s.config.Metrics.Step.Set(float64(e.Aggregate.Step + 1))
			s.config.Metrics.Samples.Add(float64(e.Aggregate.Samples))
			hashAhead(e.Aggregate)
		case run.Dropped:
			delete(s.bulks, e.Step)
		case run.Note:
			s.config.Log.Log(context.Background(), e.Level, e.Message, e.Args...)
		}
	}
	if gone, is := event.(run.PeerGone); is {
		s.forget(gone.Peer)
	}
	s.config.Metrics.Workers.Set(float64(s.machine.Workers()))
	if s.layout.Load() == nil && s.machine.Layout() != nil {
		s.cut = wire.Cut(s.machine.Layout())
		s.layout.Store(s.machine.Layout())
	}
}

// hashAhead computes the hash while the first frames are on their way.
func hashAhead(aggregate *protocol.Aggregate) {
	gradients := aggregate.Gradients.Retain()
	go func() {
		aggregate.Hash()
		gradients.Release()
	}()
}

func (s *Server) write(record run.Record) { s.check("run.json", s.config.Files.Write(record)) }

// check ends the run when a file cannot be written: what the workers would compute could not be recorded.
func (s *Server) check(file string, err error) {
	if err == nil {
		return
	}
	s.config.Log.Error("cannot write a file of the run; the run stops", "file", file, "error", err.Error())
	if s.failure == nil {
		s.failure = err
	}
}

func (s *Server) send(e run.Send) {
	p := s.peer(e.Peer)
	if p == nil {
		return
	}
	switch reply := e.Reply.(type) {
	case *protocol.Aggregate:
		bulk := s.bulks[reply.Step]
		if bulk == nil {
			bulk = wire.NewAggregate(reply, s.machine.Layout(), s.cut)
			s.bulks[reply.Step] = bulk
		}
		p.put(outgoing{bulk, e.Request, reply.Gradients.Retain().Release})
	case *protocol.Snapshot:
		p.put(outgoing{wire.NewSnapshot(reply), e.Request, reply.Retain().Release})
	case protocol.Ack:
		s.config.Metrics.Verdicts.WithLabelValues(reply.Verdict.String()).Inc()
		p.reply(e.Request, reply)
	default:
		p.reply(e.Request, reply)
	}
}
