// Package server is the shell around the state machine of package run: it owns the sockets, the
// files and the clock. Each connection has two goroutines, one that reads and one that writes; a
// single loop hands events to the machine and carries out its effects.
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

	"pangea.example/pangea/schemas/tensor"
	"pangea.example/pangea/services/go-orchestrator/internal/adder"
	"pangea.example/pangea/services/go-orchestrator/internal/budget"
	"pangea.example/pangea/services/go-orchestrator/internal/clock"
	"pangea.example/pangea/services/go-orchestrator/internal/contenthash"
	"pangea.example/pangea/services/go-orchestrator/internal/failpoint"
	"pangea.example/pangea/services/go-orchestrator/internal/identity"
	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/run"
	"pangea.example/pangea/services/go-orchestrator/internal/telemetry"
	"pangea.example/pangea/services/go-orchestrator/internal/vector"
	"pangea.example/pangea/services/go-orchestrator/internal/wire"
)

// Files is where a run is recorded.
type Files interface {
	Append(run.MetricsLine) error
	Write(run.Record) error
	// Commit returns when the records are on the disk.
	Commit([]ledger.Record) error
	LedgerBytes() int64
	// The checkpoints' methods are called on goroutines of their own.
	SaveCheckpoint(runID string, s *protocol.Snapshot, epoch, epochStep uint32) (ledger.Checkpoint, error)
	LoadCheckpoint(c ledger.Checkpoint, memory *budget.Budget) (*protocol.Snapshot, error)
	RemoveCheckpoint(c ledger.Checkpoint) error
}

// Config of a Server.
type Config struct {
	Run              run.Config
	MaxConnections   int
	ExitWhenFinished bool
	Memory           *budget.Budget // of gradients, snapshots and arriving frames
	Mapped           func(int64)    // told how much of Memory is mapped and not on the heap; nil for nobody
	Shared           *budget.Budget // of memory that workers on this machine share; nil where none do
	Files            Files
	Identity         *identity.Identity // of this process; nil where TCP connections are not encrypted
	Clock            clock.Clock
	Log              *slog.Logger
	Metrics          *telemetry.Metrics
	Hit              failpoint.Hit // nil for failpoint.Never
	Pace             Pace          // zero for DefaultPace
}

// Server serves the workers of one run.
type Server struct {
	config  Config
	limits  wire.Limits
	gate    *gate
	memory  shares
	pool    *vector.Pool
	adder   *adder.Adder
	machine *run.Machine // used by the loop alone
	events  chan posted
	asked   chan chan run.Status
	done    chan struct{} // closed when the loop has ended

	layout   atomic.Pointer[protocol.Layout] // the machine's, once it has one
	method   contenthash.Method              // how the run hashes parameters; set before the layout
	stopping atomic.Bool
	failure  error // why files could not be written
	// What run.json should be; nil where it is. Used by the loop alone.
	unwritten *run.Record
	failed    atomic.Pointer[string]
	refusing  chan struct{} // has an element for each connection that is told that it has no place
	turned    atomic.Int64  // when the loop last turned, in nanoseconds since 1970
	idleFrom  time.Time     // when the last worker of the finished run left; zero while one is there

	mutex    sync.Mutex
	peers    map[run.Peer]*peer
	lastPeer run.Peer

	streaming streaming
	small     []run.Event // sums that were made at once, to be handled next; used by the loop alone

	// Of aggregates that are still sent, by step; used by the loop alone.
	bulks map[uint64]*wire.Bulk
	cut   [][]wire.Piece

	// Workers that learned of the end; used by the loop alone.
	notifiedPeers map[run.Peer]struct{} // they were told, and their connections are open
	departed      int                   // they were told, and closed their connections
}

// How long a stopping server waits for workers to close their connections, and then for what is
// still to be sent.
const (
	drainTimeout = time.Second
	flushTimeout = 2 * time.Second
)

// How long a stopping server waits for a last checkpoint: workers may finish the shard that they
// compute, and if one does not send its state, another is asked. Whoever started the process has to
// wait at least this long before killing it.
const lastCheckpointTimeout = 15 * time.Second

// tickInterval is how often the machine is told the time.
const tickInterval = 50 * time.Millisecond

// How long a finished run is kept open without workers: one that lost its connection just then
// comes back to learn of the end.
const lingerTimeout = 3 * time.Second

// How long to wait before accepting again after an error.
const acceptPause = 100 * time.Millisecond

// New makes a server that has not started yet. It continues the past of a run, or refuses to.
func New(config Config, past run.Past) (*Server, error) {
	if config.Hit == nil {
		config.Hit = failpoint.Never
	}
	if config.Pace == (Pace{}) {
		config.Pace = DefaultPace()
	}
	config.Run.MaxWorkers = config.MaxConnections - reserved(config.MaxConnections)
	machine, effects, err := run.Open(config.Run, config.Clock.Now(), past)
	if err != nil {
		return nil, err
	}
	s := &Server{
		config:  config,
		limits:  wire.DefaultLimits(int64(tensor.MaxFrameBytes)),
		pool:    vector.NewPool(config.Memory),
		machine: machine,
		events:  make(chan posted, 64),
		gate:    newGate(config.MaxConnections),
		memory:  share(config.Memory),
		asked:   make(chan chan run.Status),
		done:    make(chan struct{}),
		peers:   map[run.Peer]*peer{},
		bulks:   map[uint64]*wire.Bulk{},

		refusing:  make(chan struct{}, maxRefusing),
		streaming: streaming{open: map[run.Peer]*streamed{}},

		notifiedPeers: map[run.Peer]struct{}{},
	}
	s.method = machine.ContentHash()
	if config.Shared != nil {
		s.pool.Share(config.Mapped)
	}
	s.adder = adder.New(s.pool)
	s.carryOut(effects)
	s.learnLayout()
	return s, s.failure
}

// Run serves until ctx ends or, with ExitWhenFinished, the run does. It closes the listeners, those
// of package net and shared. The error is that of files that could not be written, or of a
// listener.
func (s *Server) Run(ctx context.Context, listeners ...net.Listener) error {
	defer close(s.done)
	accepting := make(chan error, len(listeners))
	for _, listener := range listeners {
		go func() { accepting <- s.accept(listener) }()
	}
	if s.config.Identity != nil {
		go s.watchIdentity()
	}
	tick := s.config.Clock.After(tickInterval)
	reason := "stop requested"
	ending := false
	stop, patience := ctx.Done(), (<-chan time.Time)(nil)
loop:
	for s.failure == nil {
		s.turned.Store(s.config.Clock.Now().UnixNano())
		select {
		case <-stop:
			// A last checkpoint, if a worker is there that can give one.
			s.handle(run.StopRequested{Reason: reason})
			ending, stop, patience = true, nil, s.config.Clock.After(lastCheckpointTimeout)
		case <-patience:
			s.config.Log.Warn("no worker sent its state in time; the run stops without a last checkpoint")
			break loop
		case <-tick:
			tick = s.config.Clock.After(tickInterval)
			s.handle(run.Tick{})
			s.writeAgain()
		case err := <-accepting:
			s.failure = err
		case event := <-s.events:
			s.handlePosted(event)
		case answer := <-s.asked:
			answer <- s.machine.Status()
		}
		if ending && !s.machine.Saving() {
			break
		}
		if s.config.ExitWhenFinished && s.idleAfterFinish() {
			reason = "the run is finished"
			break
		}
	}
	if s.failure != nil {
		reason = s.failure.Error()
		s.failed.Store(&reason)
	}
	s.stopping.Store(true)
	s.handle(run.StopRequested{Reason: reason, AtOnce: true})
	// Nothing is accepted from here on; an error of closing would change nothing.
	for _, listener := range listeners {
		_ = listener.Close()
	}
	s.drain()
	return s.failure
}

// idleAfterFinish reports whether the run is finished and nobody needs this process any more.
func (s *Server) idleAfterFinish() bool {
	if s.machine.State() != run.Finished || s.connections() > 0 || s.machine.Saving() {
		s.idleFrom = time.Time{}
		return false
	}
	now := s.config.Clock.Now()
	if s.idleFrom.IsZero() {
		s.idleFrom = now
	}
	return s.departed > 0 || now.Sub(s.idleFrom) > lingerTimeout
}

// drain lets workers take their answers and close, for a moment, and closes the rest.
func (s *Server) drain() {
	patience := s.config.Clock.After(drainTimeout)
	for waiting := true; waiting && s.connections() > 0; {
		select {
		case event := <-s.events:
			s.handlePosted(event)
		case answer := <-s.asked:
			answer <- s.machine.Status()
		case <-patience:
			waiting = false
		}
	}
	s.abandonStreams()
	s.mutex.Lock()
	peers := make([]*peer, 0, len(s.peers))
	for _, p := range s.peers {
		peers = append(peers, p)
	}
	s.mutex.Unlock()
	flushed := make(chan struct{})
	defer close(flushed)
	go func() {
		select {
		case <-flushed:
		case <-s.config.Clock.After(flushTimeout):
			for _, p := range peers {
				p.close()
			}
		}
	}()
	for _, p := range peers {
		p.out.finish()
		<-p.out.done
		p.close()
	}
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
	p := s.peers[id]
	delete(s.peers, id)
	s.mutex.Unlock()
	s.gate.leave(p)
	if p.sharing != nil {
		p.sharing.letGo()
	}
	s.config.Metrics.Connections.Dec()
}

// Checkpoint takes a checkpoint as soon as a worker can send its state; the run continues.
func (s *Server) Checkpoint(reason string) { s.post(run.CheckpointRequested{Reason: reason}) }

// stuckAfter is how long one turn of the loop may take. A disk that is merely slow syncs in
// seconds.
const stuckAfter = 30 * time.Second

// Alive says that the loop does not turn any more: its disk, or the process itself, hangs, and only
// a restart helps.
func (s *Server) Alive() error {
	turned := s.turned.Load()
	if turned == 0 || s.stopping.Load() {
		return nil
	}
	if since := s.config.Clock.Now().Sub(time.Unix(0, turned)); since > stuckAfter {
		return fmt.Errorf("the event loop has not turned for %v; its disk hangs, or the process does",
			since.Round(time.Second))
	}
	return nil
}

// Ready says why no worker can join.
func (s *Server) Ready() error {
	if reason := s.failed.Load(); reason != nil {
		return errors.New(*reason)
	}
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
