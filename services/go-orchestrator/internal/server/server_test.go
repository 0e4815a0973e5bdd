package server_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/clock"
	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/run"
	"pangea.example/pangea/services/go-orchestrator/internal/wiretest"
)

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
