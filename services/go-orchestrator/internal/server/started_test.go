package server_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/budget"
	"pangea.example/pangea/services/go-orchestrator/internal/clock"
	"pangea.example/pangea/services/go-orchestrator/internal/contenthash"
	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/run"
	"pangea.example/pangea/services/go-orchestrator/internal/server"
	"pangea.example/pangea/services/go-orchestrator/internal/shared"
	"pangea.example/pangea/services/go-orchestrator/internal/telemetry"
)

// files keeps what a run writes.
type files struct {
	mutex   sync.Mutex
	lines   []run.MetricsLine
	records []run.Record
	failure error

	ledger        []ledger.Record
	commitFailure error
}

func (f *files) Append(line run.MetricsLine) error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.lines = append(f.lines, line)
	return f.failure
}

func (f *files) Write(record run.Record) error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.records = append(f.records, record)
	return nil
}

func (f *files) Commit(records []ledger.Record) error {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.ledger = append(f.ledger, records...)
	return f.commitFailure
}

func (f *files) LedgerBytes() int64 { return 0 }

func (f *files) SaveCheckpoint(string, *protocol.Snapshot, uint32, uint32) (ledger.Checkpoint, error) {
	return ledger.Checkpoint{}, errors.New("no checkpoints in this test")
}

func (f *files) LoadCheckpoint(ledger.Checkpoint, *budget.Budget) (*protocol.Snapshot, error) {
	return nil, errors.New("no checkpoints in this test")
}

func (f *files) RemoveCheckpoint(ledger.Checkpoint) error { return nil }

func (f *files) last() run.Record {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.records[len(f.records)-1]
}

// started is a server on a free port of the loopback.
type started struct {
	*server.Server
	files   *files
	metrics *telemetry.Metrics
	address string
	socket  string
	shared  *budget.Budget // of workers' slots
	stop    context.CancelFunc
	ended   chan error
}

func start(t *testing.T, connections int) *started {
	t.Helper()
	return startFrom(t, connections, clock.System{}, run.Past{})
}

func startFrom(t *testing.T, connections int, time clock.Clock, past run.Past) *started {
	t.Helper()
	return startWith(t, func(config *server.Config) { config.MaxConnections, config.Clock = connections, time }, past)
}

func startWith(t *testing.T, change func(*server.Config), past run.Past) *started {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	local, err := shared.Listen(filepath.Join(t.TempDir(), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	memory := budget.New("test", 64<<20)
	s := &started{files: &files{}, address: listener.Addr().String(), socket: local.Addr().String(),
		shared: budget.New("shared", 1<<20), ended: make(chan error, 1)}
	metrics := telemetry.NewMetrics(memory)
	config := server.Config{
		Run: run.Config{RunID: "test", Settings: protocol.Settings{Seed: 1, Shards: 8, BatchSize: 16, Epochs: 2,
			ContentHash: contenthash.XXH3Tree},
			MemoryBytes: 64 << 20, KeepBytes: 16 << 20, StragglerK: 5},
		MaxConnections:   100,
		ExitWhenFinished: true, Memory: memory, Shared: s.shared, Files: s.files, Clock: clock.System{},
		Log: slog.New(slog.DiscardHandler), Metrics: metrics,
	}
	change(&config)
	made, err := server.New(config, past)
	if err != nil {
		t.Fatal(err)
	}
	s.Server, s.metrics = made, metrics
	metrics.Add(made)
	var ctx context.Context
	ctx, s.stop = context.WithCancel(context.Background())
	t.Cleanup(s.stop)
	go func() { s.ended <- s.Run(ctx, listener, local) }()
	return s
}

func (s *started) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-s.ended:
		return err
	case <-time.After(30 * time.Second):
		t.Fatal("the server does not end")
		return nil
	}
}
