// Package server is the shell around the state machine of package run: it owns the sockets, the files and the clock. Each connection
// has two goroutines, one that reads and one that writes; a single loop hands events to the machine and carries out its effects.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/budget"
	"pangea.example/pangea/services/go-orchestrator/internal/clock"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/run"
	"pangea.example/pangea/services/go-orchestrator/internal/telemetry"
	"pangea.example/pangea/services/go-orchestrator/internal/vector"
	"pangea.example/pangea/services/go-orchestrator/internal/wire"
)

// Files is where a run is written down.
type Files interface {
	Append(run.MetricsLine) error
	Write(run.Record) error
}

// Config of a Server.
type Config struct {
	RunID            string
	Settings         protocol.Settings
	MaxConnections   int
	ExitWhenFinished bool
	Memory           *budget.Budget // of gradients, snapshots and arriving frames
	Files            Files
	Clock            clock.Clock
	Log              *slog.Logger
	Metrics          *telemetry.Metrics
}

// Server serves the workers of one run.
type Server struct {
	config  Config
	limits  wire.Limits
	pool    *vector.Pool
	machine *run.Machine // used by the loop alone
	events  chan run.Event
	asked   chan chan run.Status
	done    chan struct{} // closed when the loop has ended

	layout   atomic.Pointer[protocol.Layout] // the machine's, once it has one
	stopping atomic.Bool
	failure  error // why files could not be written

	mutex    sync.Mutex
	peers    map[run.Peer]*peer
	lastPeer run.Peer

	// Of aggregates that are still sent, by step; used by the loop alone.
	bulks map[uint64]*wire.Bulk
	cut   [][]wire.Piece
}

// Longest that a stopping server waits for workers to take their leave, and then for what is still to be sent.
const (
	farewell = time.Second
	flushing = 2 * time.Second
)

// New makes a server that has not begun.
func New(config Config) *Server {
	memory := config.Memory
	return &Server{
		config: config,
		limits: wire.DefaultLimits(16 << 20),
		pool:   vector.NewPool(memory),
		machine: run.New(run.Config{RunID: config.RunID, Settings: config.Settings,
			MemoryBytes: memory.Limit(), KeepBytes: memory.Limit() / 4}),
		events: make(chan run.Event, 64),
		asked:  make(chan chan run.Status),
		done:   make(chan struct{}),
		peers:  map[run.Peer]*peer{},
		bulks:  map[uint64]*wire.Bulk{},
	}
}

// Run serves until ctx ends or, with ExitWhenFinished, the run does. It closes the listener. The error is that of files that could not be
// written, or of the listener.
func (s *Server) Run(ctx context.Context, listener net.Listener) error {
	defer close(s.done)
	accepting := make(chan error, 1)
	go func() { accepting <- s.accept(listener) }()
	s.write(s.machine.Record())
	reason := "asked to stop"
loop:
	for s.failure == nil {
		select {
		case <-ctx.Done():
			break loop
		case err := <-accepting:
			s.failure = err
		case event := <-s.events:
			s.handle(event)
		case answer := <-s.asked:
			answer <- s.machine.Status()
		}
		if s.config.ExitWhenFinished && s.machine.State() == run.Finished && s.connections() == 0 {
			reason = "the run is finished"
			break
		}
	}
	if s.failure != nil {
		reason = s.failure.Error()
	}
	s.stopping.Store(true)
	s.handle(run.StopAsked{Reason: reason})
	// Nothing is accepted from here on; an error of closing would change nothing.
	_ = listener.Close()
	s.sayFarewell()
	return s.failure
}

// sayFarewell lets workers take their answers and close, for a moment, and closes the rest.
func (s *Server) sayFarewell() {
	patience := time.NewTimer(farewell)
	defer patience.Stop()
	for waiting := true; waiting && s.connections() > 0; {
		select {
		case event := <-s.events:
			s.handle(event)
		case answer := <-s.asked:
			answer <- s.machine.Status()
		case <-patience.C:
			waiting = false
		}
	}
	s.mutex.Lock()
	peers := make([]*peer, 0, len(s.peers))
	for _, p := range s.peers {
		peers = append(peers, p)
	}
	s.mutex.Unlock()
	force := time.AfterFunc(flushing, func() {
		for _, p := range peers {
			p.close()
		}
	})
	defer force.Stop()
	for _, p := range peers {
		p.out.finish()
		<-p.out.done
		p.close()
	}
}

// accept takes connections until the listener is closed.
func (s *Server) accept(listener net.Listener) error {
	for {
		connection, err := listener.Accept()
		switch {
		case s.stopping.Load():
			if err == nil {
				_ = connection.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("the listener was closed: %w", err)
		case err != nil:
			// Out of descriptors, most likely: those that are there go on, and the next worker may have more luck.
			s.config.Log.Warn("cannot accept a connection", "error", err.Error())
			select {
			case <-s.done:
				return nil
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		s.welcome(connection.(*net.TCPConn))
	}
}

func (s *Server) welcome(connection *net.TCPConn) {
	s.mutex.Lock()
	s.lastPeer++
	p := &peer{server: s, id: s.lastPeer, connection: connection, out: newOutbox()}
	full := len(s.peers) >= s.config.MaxConnections
	if !full {
		s.peers[p.id] = p
	}
	s.mutex.Unlock()
	go p.out.write(connection, s.config.Metrics.BytesSent)
	if full {
		refusal := protocol.Errorf(protocol.RetryLater, "the orchestrator has %d connections already, which is --max-connections", s.config.MaxConnections)
		refusal.RetryAfter = 5
		p.reply(0, refusal)
		go p.hangUp()
		return
	}
	s.config.Metrics.Connections.Inc()
	go p.read()
}

func (s *Server) connections() int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return len(s.peers)
}

func (s *Server) peer(id run.Peer) *peer {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.peers[id]
}

func (s *Server) forget(id run.Peer) {
	s.mutex.Lock()
	delete(s.peers, id)
	s.mutex.Unlock()
	s.config.Metrics.Connections.Dec()
}

// post gives an event to the loop, unless that has ended.
func (s *Server) post(event run.Event) {
	select {
	case s.events <- event:
	case <-s.done:
	}
}

// Ready says why no worker can join.
func (s *Server) Ready() error {
	if s.stopping.Load() {
		return errors.New("the orchestrator is stopping")
	}
	return nil
}

// Status asks the loop for the run's status.
func (s *Server) Status(ctx context.Context) (run.Status, error) {
	answer := make(chan run.Status, 1)
	select {
	case s.asked <- answer:
		return <-answer, nil
	case <-s.done:
		return run.Status{}, errors.New("the orchestrator has stopped")
	case <-ctx.Done():
		return run.Status{}, ctx.Err()
	}
}
