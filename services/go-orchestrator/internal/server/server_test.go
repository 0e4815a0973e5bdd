package server_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"capnproto.org/go/capnp/v3"

	"pangea.example/pangea/schemas/tensor"
	"pangea.example/pangea/services/go-orchestrator/internal/budget"
	"pangea.example/pangea/services/go-orchestrator/internal/clock"
	"pangea.example/pangea/services/go-orchestrator/internal/contenthash"
	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/run"
	"pangea.example/pangea/services/go-orchestrator/internal/server"
	"pangea.example/pangea/services/go-orchestrator/internal/shared"
	"pangea.example/pangea/services/go-orchestrator/internal/telemetry"
	"pangea.example/pangea/services/go-orchestrator/internal/tree"
	"pangea.example/pangea/services/go-orchestrator/internal/wire"
	"pangea.example/pangea/services/go-orchestrator/internal/wiretest"
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

func TestAFinishedRunIsKeptOpenForAWorkerThatLostItsConnection(t *testing.T) {
	past := run.Past{Records: ledger.List{
		&ledger.Settings{Format: ledger.Format, RunID: "test", Seed: 1, Shards: 8, BatchSize: 16, Epochs: 2},
		&ledger.Model{Dataset: ledger.Dataset{TrainSamples: 64},
			Parameters: []ledger.Spec{{Name: "weight", DType: "float32", Shape: []uint64{2}}}},
		&ledger.Stop{Steps: 0, Reason: "dry run"},
		&ledger.Finished{Steps: 0},
	}}
	hands := clock.NewManual(time.Unix(1000, 0))
	s := startFrom(t, 4, hands, past)
	from := hands.Now()
	for {
		select {
		case err := <-s.ended:
			if passed := hands.Now().Sub(from); err != nil || passed <= 3*time.Second {
				t.Fatalf("it ended after %v: %v", passed, err)
			}
			return
		case <-time.After(time.Millisecond):
			hands.Advance(50 * time.Millisecond)
		}
	}
}

// worker is the other end of a connection.
type worker struct {
	connection net.Conn
	reader     *wire.Reader
	layout     *protocol.Layout
	requests   uint64
	local      *wiretest.Local // of a worker that shares memory
	slots      int             // that it announces once it has joined
}

func connect(t *testing.T, address string) *worker {
	t.Helper()
	connection, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	layout, err := protocol.NewLayout(testJoin().Parameters, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return &worker{connection: connection, layout: layout,
		reader: wire.NewReader(connection, wire.DefaultLimits(16<<20), budget.New("worker", 64<<20))}
}

func testJoin() protocol.Join {
	return protocol.Join{
		Version: tensor.ProtocolVersion, WorkerName: "w", Software: "test",
		Parameters: []protocol.Spec{{Name: "weight", DType: protocol.Float32, Shape: []uint64{40, 25}},
			{Name: "bias", DType: protocol.Float32, Shape: []uint64{7}}},
		Dataset: protocol.Dataset{Name: "d", TrainSamples: 40},
	}
}

// stateAt is the state of a worker whose parameters are nothing but the number of steps, and the
// hash of these parameters.
func stateAt(step uint64) (protocol.Hash, []byte) {
	weight, bias := make([]byte, 4*40*25), make([]byte, 4*7)
	binary.LittleEndian.PutUint64(weight, step)
	header := `{"__metadata__":{"pangea":"{\"hashed\":[\"weight\",\"bias\"]}"},"model.weight":{"dtype":"F32","shape":[40,25],"data_offsets":[0,4000]},` +
		`"model.bias":{"dtype":"F32","shape":[7],"data_offsets":[4000,4028]}}`
	content := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	content = append(append(append(content, header...), weight...), bias...)
	return contenthash.XXH3Tree.Of(weight, bias), content
}

// initialJoin is that of a worker with the initial parameters of stateAt.
func initialJoin() protocol.Join {
	join := testJoin()
	join.ParametersContentHash, _ = stateAt(0)
	return join
}

func (w *worker) send(frames ...wire.Frame) error {
	w.requests++
	return w.sendAs(w.requests, frames...)
}

func (w *worker) sendAs(request uint64, frames ...wire.Frame) error {
	for _, frame := range frames {
		buffers, err := frame.Buffers(request)
		if err != nil {
			return err
		}
		if _, err := buffers.WriteTo(w.connection); err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) ask(frames ...wire.Frame) (any, error) {
	if err := w.send(frames...); err != nil {
		return nil, err
	}
	if w.local != nil {
		_, reply, err := w.local.Reply()
		if _, joined := reply.(protocol.Joined); joined {
			err = w.announce()
		}
		return reply, err
	}
	_, reply, err := wiretest.Reply(func() (*capnp.Message, error) { return w.reader.Next() })
	return reply, err
}

// announce shares the worker's slots.
func (w *worker) announce() error {
	for id := range w.slots {
		if err := w.local.Announce(uint32(id), w.layout.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// frames of an update: in shared memory, if there is a free slot.
func (w *worker) frames(update wiretest.Update) []wire.Frame {
	if w.local != nil {
		if place, is := w.local.Place(update.Gradients); is {
			return []wire.Frame{update.Placed(place)}
		}
	}
	return update.Frames(w.layout, 300, 2)
}

// samples of a shard: 40 samples in steps of 16 over 8 shards make steps of 16, 16 and 8 samples.
func samples(epochStep uint32) uint32 {
	if epochStep == 2 {
		return 1
	}
	return 2
}

// gradient of a node of the tree: added from its shards in the tree's order.
func gradient(step uint64, node tree.Node, elements int) []float32 {
	if node.Count > 1 {
		half := node.Count / 2
		left := gradient(step, tree.Node{First: node.First, Count: half}, elements)
		for i, value := range gradient(step, tree.Node{First: node.First + half, Count: half}, elements) {
			left[i] += value
		}
		return left
	}
	values := make([]float32, elements)
	for i := range values {
		values[i] = float32(step+1) / float32(3+7*int(node.First)+i)
	}
	return values
}

// update of a node, as a worker submits it.
func (w *worker) update(step uint64, epochStep uint32, node tree.Node) wiretest.Update {
	update := wiretest.Update{Step: step, FirstShard: node.First, Gradients: gradient(step, node, w.layout.Elements())}
	for shard := node.First; shard < node.First+node.Count; shard++ {
		update.Reports = append(update.Reports, protocol.Report{Shard: shard, Samples: samples(epochStep),
			Weight: float64(samples(epochStep)), LossSum: 0.1 * float64(shard+1)})
	}
	return update
}

// train plays a worker to the end of the run, whose parameters are nothing but the number of steps.
// It returns the hashes of the aggregates.
func (w *worker) train() (hashes []protocol.Hash, err error) {
	if reply, err := w.ask(wiretest.Join(initialJoin())); err != nil {
		return nil, err
	} else if _, is := reply.(protocol.Joined); !is {
		return nil, fmt.Errorf("%T: %v", reply, reply)
	}
	step := uint64(0)
	for {
		parameters, content := stateAt(step)
		reply, err := w.ask(wiretest.Work(protocol.Work{Step: step, ParametersHash: parameters}))
		if err != nil {
			return nil, err
		}
		switch r := reply.(type) {
		case protocol.Lease:
			for _, node := range tree.Cover(r.Shards) {
				update := w.update(step, r.EpochStep, node)
				if reply, err := w.ask(w.frames(update)...); err != nil {
					return nil, err
				} else if ack, is := reply.(protocol.Ack); !is || ack.Verdict != protocol.Accepted {
					return nil, fmt.Errorf("%T: %v", reply, reply)
				}
			}
		case *wiretest.Aggregate:
			hashes = append(hashes, r.Hash)
			step++
		case *wiretest.State:
			step = r.Step
		case protocol.SnapshotRequest:
			if err := w.send(wiretest.Snapshot(step, parameters, content, 300)...); err != nil {
				return nil, err
			}
		case protocol.Finished:
			return hashes, w.connection.Close()
		default:
			return nil, fmt.Errorf("%T: %v", reply, reply)
		}
	}
}

func TestAnyNumberOfWorkersGetsTheSameAggregates(t *testing.T) {
	var first []protocol.Hash
	for _, workers := range []int{1, 2, 3, 5} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			s := start(t, 100)
			type outcome struct {
				hashes []protocol.Hash
				err    error
			}
			outcomes := make(chan outcome)
			// All connect before the first one begins: alone it could reach the end, and the server with it.
			var all []*worker
			for range workers {
				all = append(all, connect(t, s.address))
			}
			for _, w := range all {
				go func() {
					hashes, err := w.train()
					outcomes <- outcome{hashes, err}
				}()
			}
			for range workers {
				o := <-outcomes
				if o.err != nil {
					t.Fatal(o.err)
				}
				if first == nil {
					first = o.hashes
				}
				// One that joined late has the last ones only.
				if len(o.hashes) > 0 && !slices.Equal(o.hashes, first[len(first)-len(o.hashes):]) {
					t.Fatal("other aggregates")
				}
			}
			if err := s.wait(t); err != nil {
				t.Fatal(err)
			}
			if page := s.page(); strings.Contains(page, "pangea_orchestrator_step ") ||
				!strings.Contains(page, "pangea_orchestrator_step_seconds_count 6\n") {
				t.Fatalf("a run of 6 steps that is over has no open one, but:\n%s", page)
			}
			if len(s.files.lines) != 6 || s.files.last().State != run.Finished {
				t.Fatalf("%d lines, state %s", len(s.files.lines), s.files.last().State)
			}
		})
	}
}

// page is /metrics.
func (s *started) page() string {
	answer := httptest.NewRecorder()
	s.metrics.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return answer.Body.String()
}

func TestMetricsShowTheStateOfTheRun(t *testing.T) {
	s := start(t, 100)
	want := func(lines ...string) {
		t.Helper()
		page := s.page()
		for _, line := range lines {
			if !strings.Contains(page, "\npangea_orchestrator_"+line+"\n") {
				t.Fatalf("no line %q in:\n%s", line, page)
			}
		}
	}
	want(`state{state="waiting"} 1`, `state{state="running"} 0`, "total_steps 0", "leased_shards 0", "silent_workers 0",
		`incidents_total{kind="quarantine"} 0`, "memory_limit_bytes 6.7108864e+07")
	w := connect(t, s.address)
	if _, err := w.ask(wiretest.Join(testJoin())); err != nil {
		t.Fatal(err)
	}
	if reply, err := w.ask(wiretest.Work(protocol.Work{})); err != nil {
		t.Fatal(err)
	} else if _, is := reply.(protocol.Lease); !is {
		t.Fatalf("%T: %v", reply, reply)
	}
	want(`state{state="waiting"} 0`, `state{state="running"} 1`, "step 0", "total_steps 6", "leased_shards 8", "workers 1",
		"second_leases_total 0")
}

func TestWrongRequestsAreRefusedAndTheConnectionStaysUsable(t *testing.T) {
	s := start(t, 100)
	w := connect(t, s.address)
	for _, test := range []struct {
		frame  wire.Frame
		detail string
	}{
		{wiretest.Work(protocol.Work{}), "has not joined"},
		{frameOf(t, protocol.Joined{}), "does not accept joinReply"},
	} {
		reply, err := w.ask(test.frame)
		if err != nil {
			t.Fatal(err)
		}
		if refusal, is := reply.(*protocol.Error); !is || refusal.Action != protocol.FixRequest ||
			!strings.Contains(refusal.Detail, test.detail) {
			t.Fatalf("%T: %v", reply, reply)
		}
	}
	if reply, err := w.ask(wiretest.Join(testJoin())); err != nil {
		t.Fatal(err)
	} else if _, is := reply.(protocol.Joined); !is {
		t.Fatalf("%T: %v", reply, reply)
	}
}

func frameOf(t *testing.T, reply protocol.Reply) wire.Frame {
	t.Helper()
	frame, err := wire.Encode(reply)
	if err != nil {
		t.Fatal(err)
	}
	return frame
}

func TestBytesThatAreNotAFrameEndOnlyTheirConnection(t *testing.T) {
	s := start(t, 100)
	good, bad := connect(t, s.address), connect(t, s.address)
	if _, err := bad.connection.Write(bytes.Repeat([]byte{0xff}, 64)); err != nil {
		t.Fatal(err)
	}
	_, reply, err := wiretest.Reply(bad.reader.Next)
	if refusal, is := reply.(*protocol.Error); err != nil || !is || refusal.Action != protocol.Reconnect {
		t.Fatalf("%T: %v %v", reply, reply, err)
	}
	if _, err := bad.reader.Next(); err != io.EOF {
		t.Fatalf("the connection is still open: %v", err)
	}
	if _, err := good.train(); err != nil {
		t.Fatal(err)
	}
}

func TestAConnectionBeyondTheLimitIsToldToRetryLater(t *testing.T) {
	s := start(t, 1)
	first := connect(t, s.address)
	if _, err := first.ask(wiretest.Join(testJoin())); err != nil {
		t.Fatal(err)
	}
	reply, err := connect(t, s.address).ask(wiretest.Join(testJoin()))
	if refusal, is := reply.(*protocol.Error); err != nil || !is || refusal.Action != protocol.RetryLater {
		t.Fatalf("%T: %v %v", reply, reply, err)
	}
}

func TestStopTellsWorkersAndWritesTheRecord(t *testing.T) {
	s := start(t, 100)
	w := connect(t, s.address)
	other := connect(t, s.address)
	for _, worker := range []*worker{w, other} {
		if _, err := worker.ask(wiretest.Join(testJoin())); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Ready(); err != nil {
		t.Fatal(err)
	}
	s.stop()
	// One that asks while the server stops is answered; one that computes sees its connection end.
	reply, err := w.ask(wiretest.Work(protocol.Work{}))
	if refusal, is := reply.(*protocol.Error); err != nil || (is && refusal.Action != protocol.Reconnect) {
		t.Fatalf("%T: %v %v", reply, reply, err)
	}
	if err := s.wait(t); err != nil {
		t.Fatal(err)
	}
	if s.Ready() == nil || s.files.last().State != run.Stopped {
		t.Fatalf("ready: %v, state %s", s.Ready(), s.files.last().State)
	}
	if _, err := other.reader.Next(); err != io.EOF {
		t.Fatal(err)
	}
}

func TestACheckpointIsTakenOnRequest(t *testing.T) {
	s := start(t, 100)
	w := connect(t, s.address)
	if reply, err := w.ask(wiretest.Join(initialJoin())); err != nil {
		t.Fatal(reply, err)
	}
	parameters, content := stateAt(0)
	work := wiretest.Work(protocol.Work{ParametersHash: parameters})
	if reply, err := w.ask(work); err != nil {
		t.Fatal(reply, err)
	}
	s.Checkpoint("a test")
	reply, err := w.ask(work)
	if asked, is := reply.(protocol.SnapshotRequest); err != nil || !is || asked.Step != 0 {
		t.Fatalf("%T %v", reply, err)
	}
	if err := w.send(wiretest.Snapshot(0, parameters, content, 4000)...); err != nil {
		t.Fatal(err)
	}
	// It cannot be written in these tests, and the run continues.
	if reply, err := w.ask(work); err != nil {
		t.Fatal(reply, err)
	}
	for status := (run.Status{}); status.CheckpointError == ""; {
		if status, err = s.Status(t.Context()); err != nil || status.State != run.Running {
			t.Fatalf("%+v, %v", status, err)
		}
	}
}

// What a donor gives is not written down, and not given to anybody, before it was looked at.
func TestAStateThatIsNotWhatItsSenderSaysIsNoCheckpoint(t *testing.T) {
	s := start(t, 100)
	w := connect(t, s.address)
	if reply, err := w.ask(wiretest.Join(initialJoin())); err != nil {
		t.Fatal(reply, err)
	}
	parameters, _ := stateAt(0)
	_, other := stateAt(1)
	work := wiretest.Work(protocol.Work{ParametersHash: parameters})
	s.Checkpoint("a test")
	asked, err := w.ask(work)
	for ; err == nil; asked, err = w.ask(work) {
		if _, is := asked.(protocol.SnapshotRequest); is {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := w.send(wiretest.Snapshot(0, parameters, other, 4000)...); err != nil {
		t.Fatal(err)
	}
	if reply, err := w.ask(work); err != nil {
		t.Fatal(reply, err)
	}
	if status, err := s.Status(t.Context()); err != nil || status.CheckpointError != "" {
		t.Fatalf("it was to be written: %+v, %v", status, err)
	}
}

// A worker sends its state beside its work: the frames of other messages come between those of it.
func TestTheStateOfAWorkerArrivesBetweenItsGradients(t *testing.T) {
	s := start(t, 100)
	w := connect(t, s.address)
	if reply, err := w.ask(wiretest.Join(initialJoin())); err != nil {
		t.Fatal(reply, err)
	}
	parameters, content := stateAt(0)
	work := wiretest.Work(protocol.Work{ParametersHash: parameters})
	s.Checkpoint("a test")
	asked, err := w.ask(work)
	for ; err == nil; asked, err = w.ask(work) {
		if _, is := asked.(protocol.SnapshotRequest); is {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	pieces := wiretest.Snapshot(0, parameters, content, 1000)
	w.requests++
	snapshot := w.requests
	piece := func() {
		t.Helper()
		if err := w.sendAs(snapshot, pieces[0]); err != nil {
			t.Fatal(err)
		}
		pieces = pieces[1:]
	}
	piece()
	reply, err := w.ask(work)
	lease, is := reply.(protocol.Lease)
	if err != nil || !is {
		t.Fatalf("%T %v", reply, err)
	}
	piece()
	node := tree.Node{First: lease.Shards[0], Count: 1}
	update := wiretest.Update{FirstShard: node.First, Gradients: gradient(0, node, w.layout.Elements()),
		Reports: []protocol.Report{{Shard: node.First, Samples: samples(0), Weight: 2}}}
	frames := update.Frames(w.layout, 300, 2)
	w.requests++
	for i, frame := range frames {
		if err := w.sendAs(w.requests, frame); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			piece()
		}
	}
	if _, reply, err = wiretest.Reply(func() (*capnp.Message, error) { return w.reader.Next() }); err != nil {
		t.Fatal(err)
	}
	if ack, is := reply.(protocol.Ack); !is || ack.Verdict != protocol.Accepted {
		t.Fatalf("%T %v", reply, reply)
	}
	for len(pieces) > 0 {
		piece()
	}
	// It is complete: the server tries to write it, which fails in these tests.
	for status := (run.Status{}); status.CheckpointError == ""; {
		if status, err = s.Status(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	// The frames of an update still follow each other.
	if err := w.sendAs(w.requests+1, frames[0]); err != nil {
		t.Fatal(err)
	}
	w.requests++
	reply, err = w.ask(work)
	if refusal, is := reply.(*protocol.Error); err != nil || !is || !strings.Contains(refusal.Detail, "are mixed with") {
		t.Fatalf("%T %v %v", reply, reply, err)
	}
}

func TestAFileThatCannotBeWrittenStopsTheRun(t *testing.T) {
	s := start(t, 100)
	s.files.mutex.Lock()
	s.files.failure = fmt.Errorf("write metrics.jsonl: %w", syscall.ENOSPC)
	s.files.mutex.Unlock()
	if _, err := connect(t, s.address).train(); err == nil {
		t.Fatal("the run continued")
	}
	want := "cannot write metrics.jsonl: write metrics.jsonl: no space left on device; " +
		"free some space on the disk, then start the orchestrator again"
	if err := s.wait(t); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Fatal(err)
	}
}
