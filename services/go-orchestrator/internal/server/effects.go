package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"pangea.example/pangea/services/go-orchestrator/internal/failpoint"
	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/run"
	"pangea.example/pangea/services/go-orchestrator/internal/telemetry"
	"pangea.example/pangea/services/go-orchestrator/internal/wire"
)

// handle gives the machine an event and carries out what it wants done.
func (s *Server) handle(event run.Event) {
	s.handleOne(event)
	for len(s.small) > 0 {
		next := s.small[0]
		s.small = s.small[1:]
		s.handleOne(next)
	}
}

func (s *Server) handleOne(event run.Event) {
	s.carryOut(s.machine.Handle(s.config.Clock.Now(), event))
	if gone, is := event.(run.PeerDisconnected); is {
		s.forget(gone.Peer)
		s.finishStream(gone.Peer, nil)
		if _, notified := s.notifiedPeers[gone.Peer]; notified {
			delete(s.notifiedPeers, gone.Peer)
			s.departed++
		}
	}
	s.config.Metrics.Workers.Set(float64(s.machine.Workers()))
	s.learnLayout()
}

// learnLayout lets the readers of connections know the model, once the machine does.
func (s *Server) learnLayout() {
	if s.layout.Load() == nil && s.machine.Layout() != nil {
		s.cut = wire.Cut(s.machine.Layout())
		s.layout.Store(s.machine.Layout())
	}
}

// carryOut does what the machine wants, in its order. When something cannot be committed, nothing
// that follows may happen.
func (s *Server) carryOut(effects []run.Effect) {
	aggregate, lines := false, []run.MetricsLine(nil)
	for _, effect := range effects {
		if s.failure != nil {
			return
		}
		switch e := effect.(type) {
		case run.Send:
			if e.Reply.Kind() == protocol.KindAggregate && !aggregate {
				aggregate = true
				s.config.Hit(failpoint.StepBeforeSend)
			}
			s.send(e)
		case run.Commit:
			started := s.config.Clock.Now()
			s.check("the ledger", s.config.Files.Commit(e.Records))
			s.config.Metrics.CommitSeconds.Observe(s.config.Clock.Now().Sub(started).Seconds())
			s.config.Metrics.LedgerBytes.Set(float64(s.config.Files.LedgerBytes()))
			s.countIncidents(e.Records)
		case run.Sum:
			s.sum(e)
		case run.Stream:
			s.stream(e)
		case run.Abandon:
			s.abandonStreams()
		case run.WriteMetrics:
			lines = append(lines, e.Line)
		case run.WriteRecord:
			s.write(e.Record)
		case run.WriteCheckpoint:
			s.saveCheckpoint(e)
		case run.LoadCheckpoint:
			s.loadCheckpoint(e.Checkpoint)
		case run.RemoveCheckpoint:
			if err := s.config.Files.RemoveCheckpoint(e.Checkpoint); err != nil {
				s.config.Log.Warn("cannot remove an old checkpoint", "file", e.Checkpoint.File, "error", err.Error())
			}
		case run.StepClosed:
			s.config.Metrics.Samples.Add(float64(e.Aggregate.Samples))
		case run.AggregateDropped:
			delete(s.bulks, e.Step)
		case run.Note:
			s.config.Log.Log(context.Background(), e.Level, e.Message, e.Args...)
		}
	}
	if aggregate {
		s.config.Hit(failpoint.StepAfterSend)
	}
	s.appendMetrics(lines)
}

// appendMetrics writes to metrics.jsonl, which is not synced: what a crash loses of it is restored
// from the ledger. So nobody waits for it.
func (s *Server) appendMetrics(lines []run.MetricsLine) {
	for _, line := range lines {
		s.measure(line)
		s.check("metrics.jsonl", s.config.Files.Append(line))
	}
}

// measure counts a step that was applied.
func (s *Server) measure(line run.MetricsLine) {
	s.config.Metrics.StepSeconds.Observe(float64(line.Seconds))
	s.config.Metrics.WorkerSeconds.WithLabelValues(telemetry.Data).Add(float64(line.DataSeconds))
	s.config.Metrics.WorkerSeconds.WithLabelValues(telemetry.Compute).Add(float64(line.ComputeSeconds))
	s.config.Metrics.WorkerSeconds.WithLabelValues(telemetry.Exchange).Add(float64(line.ExchangeSeconds))
}

func (s *Server) countIncidents(records []ledger.Record) {
	for _, record := range records {
		if incident, is := record.(*ledger.Incident); is {
			s.config.Metrics.Incidents.WithLabelValues(incident.Kind).Inc()
		}
	}
}

func (s *Server) saveCheckpoint(e run.WriteCheckpoint) {
	go func() {
		checkpoint, err := s.config.Files.SaveCheckpoint(s.config.Run.RunID, e.Snapshot, e.Epoch, e.EpochStep)
		e.Snapshot.Release()
		if err == nil {
			s.config.Metrics.Checkpoints.WithLabelValues(telemetry.Written).Inc()
			s.config.Metrics.CheckpointAt.Set(float64(s.config.Clock.Now().UnixNano()) / 1e9)
		} else {
			s.config.Metrics.Checkpoints.WithLabelValues(telemetry.Failed).Inc()
		}
		s.post(run.CheckpointWritten{Checkpoint: checkpoint, Err: err})
	}()
}

func (s *Server) loadCheckpoint(c ledger.Checkpoint) {
	go func() {
		snapshot, err := s.config.Files.LoadCheckpoint(c, s.config.Memory)
		if err == nil {
			// Older releases have written down what a donor said without looking at it.
			if wrong := s.wrong(snapshot); wrong != "" {
				snapshot.Release()
				snapshot, err = nil, fmt.Errorf("%s: %s", c.File, wrong)
			}
		}
		s.post(run.CheckpointLoaded{Checkpoint: c, Snapshot: snapshot, Err: err})
	}()
}

// write replaces run.json. Where the process is out of descriptors, it is written with a later
// turn: the disk is all right, and the truth is in the ledger.
func (s *Server) write(record run.Record) {
	s.unwritten = nil
	err := s.config.Files.Write(record)
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		s.config.Log.Warn("run.json is written later", "error", err.Error())
		s.unwritten = &record
		return
	}
	s.check("run.json", err)
}

// writeAgain writes what could not be written.
func (s *Server) writeAgain() {
	if s.unwritten != nil {
		s.write(*s.unwritten)
	}
}

// check ends the run when a file cannot be written: what the workers would compute could not be
// recorded.
func (s *Server) check(file string, err error) {
	if err == nil {
		return
	}
	err = fmt.Errorf("cannot write %s: %w; %s, then start the orchestrator again with the same --run-dir: "+
		"nothing that was committed is lost", file, err, remedy(err))
	s.config.Log.Error("the run stops", "reason", err.Error())
	if s.failure == nil {
		s.failure = err
	}
}

// remedy says what to do about a disk that takes nothing.
func remedy(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return "free some space on the disk"
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		return "make the run directory writable"
	}
	return "check the disk"
}

func (s *Server) send(e run.Send) {
	p := s.peer(e.Peer)
	if p == nil || s.finishStream(e.Peer, e.Reply) {
		return
	}
	switch reply := e.Reply.(type) {
	case protocol.Joined:
		p.join()
		p.reply(e.Request, reply)
	case protocol.SnapshotRequest:
		p.asked.Add(1)
		p.reply(e.Request, reply)
	case protocol.Finished:
		s.notifiedPeers[e.Peer] = struct{}{}
		p.reply(e.Request, reply)
	case *protocol.Aggregate:
		if p.share(e.Request, reply) {
			return
		}
		bulk := s.bulks[reply.Step]
		if bulk == nil {
			bulk = wire.NewAggregate(reply, s.machine.Layout(), s.cut)
			s.bulks[reply.Step] = bulk
		}
		p.put(outgoing{frames: manyFrames{bulk}, request: e.Request, release: reply.Gradients.Retain().Release})
	case *protocol.Snapshot:
		p.put(outgoing{frames: manyFrames{wire.NewSnapshot(reply)}, request: e.Request, release: reply.Retain().Release})
	case protocol.Ack:
		s.config.Metrics.Verdicts.WithLabelValues(reply.Verdict.String()).Inc()
		p.reply(e.Request, reply)
	default:
		p.reply(e.Request, reply)
	}
}
