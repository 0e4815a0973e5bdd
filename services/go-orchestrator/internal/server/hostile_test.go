package server_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/run"
	"pangea.example/pangea/services/go-orchestrator/internal/server"
	"pangea.example/pangea/services/go-orchestrator/internal/tree"
	"pangea.example/pangea/services/go-orchestrator/internal/wire"
	"pangea.example/pangea/services/go-orchestrator/internal/wiretest"
)

func TestOnlyWorkersSendWhatTakesMemory(t *testing.T) {
	s := start(t, 100)
	first := connect(t, s.address)
	if _, err := first.ask(wiretest.Join(testJoin())); err != nil {
		t.Fatal(err)
	}
	update := first.update(0, 0, tree.Node{First: 0, Count: 1}).Frames(first.layout, 300, 2)
	snapshot := wiretest.Snapshot(0, protocol.Hash{}, []byte("state"), 3)
	for name, test := range map[string]struct {
		frame  wire.Frame
		joins  bool
		detail string
	}{
		"an update of a stranger":          {update[0], false, "has not joined"},
		"a snapshot of a stranger":         {snapshot[0], false, "has not joined"},
		"a snapshot that nobody asked for": {snapshot[0], true, "nobody asked for"},
	} {
		t.Run(name, func(t *testing.T) {
			w := connect(t, s.address)
			if test.joins {
				if reply, err := w.ask(wiretest.Join(testJoin())); err != nil {
					t.Fatal(reply, err)
				}
			}
			reply, err := w.ask(test.frame)
			if refusal, is := reply.(*protocol.Error); err != nil || !is || refusal.Action != protocol.Reconnect ||
				!strings.Contains(refusal.Detail, test.detail) {
				t.Fatalf("%T: %v %v", reply, reply, err)
			}
			if _, err := w.reader.Next(); !errors.Is(err, io.EOF) {
				t.Fatalf("the connection is still open: %v", err)
			}
		})
	}
}

func TestAConnectionThatDoesNotJoinIsClosed(t *testing.T) {
	s := startWith(t, func(config *server.Config) {
		config.Pace = server.DefaultPace()
		config.Pace.First, config.Pace.Join = 50*time.Millisecond, 100*time.Millisecond
	}, run.Past{})
	silent, talking := connect(t, s.address), connect(t, s.address)
	for w, want := range map[*worker]string{silent: "no message arrived", talking: "has not joined within"} {
		if w == talking {
			if reply, err := w.ask(wiretest.Work(protocol.Work{})); err != nil {
				continue // it was late
			} else if refusal, is := reply.(*protocol.Error); !is || refusal.Action != protocol.FixRequest {
				if is && refusal.Action == protocol.Reconnect {
					continue // late as well
				}
				t.Fatalf("%T: %v", reply, reply)
			}
		}
		_, reply, err := wiretest.Reply(w.reader.Next)
		if refusal, is := reply.(*protocol.Error); err != nil || !is || refusal.Action != protocol.Reconnect ||
			!strings.Contains(refusal.Detail, want) {
			t.Fatalf("%T: %v %v", reply, reply, err)
		}
	}
}

func TestAStrangerCannotSayThatTheScriptIsBroken(t *testing.T) {
	s := start(t, 100)
	w := connect(t, s.address)
	if _, err := w.ask(wiretest.Join(testJoin())); err != nil {
		t.Fatal(err)
	}
	reply, err := connect(t, s.address).ask(wiretest.Leave(protocol.Leave{Broken: "it draws lots"}))
	if _, is := reply.(protocol.Left); err != nil || !is {
		t.Fatalf("%T: %v %v", reply, reply, err)
	}
	if status, err := s.Status(t.Context()); err != nil || status.Incidents != 0 || status.State != run.Running {
		t.Fatalf("%+v %v", status, err)
	}
	s.files.mutex.Lock()
	defer s.files.mutex.Unlock()
	for _, record := range s.files.ledger {
		if incident, is := record.(*ledger.Incident); is {
			t.Fatalf("%+v", incident)
		}
	}
}

func TestLongTextsAreRefusedAndNotRepeated(t *testing.T) {
	s := start(t, 100)
	if reply, err := connect(t, s.address).ask(wiretest.Join(testJoin())); err != nil {
		t.Fatal(reply, err)
	}
	join := testJoin()
	join.RunID = strings.Repeat("x", 200)
	reply, err := connect(t, s.address).ask(wiretest.Join(join))
	if refusal, is := reply.(*protocol.Error); err != nil || !is || refusal.Action != protocol.Stop ||
		len(refusal.Detail) > 400 {
		t.Fatalf("%T: %v %v", reply, reply, err)
	}
	join.RunID = strings.Repeat("x", 257)
	reply, err = connect(t, s.address).ask(wiretest.Join(join))
	if refusal, is := reply.(*protocol.Error); err != nil || !is || refusal.Action != protocol.FixRequest ||
		!strings.Contains(refusal.Detail, "runId has 257 bytes; it may have 256") {
		t.Fatalf("%T: %v %v", reply, reply, err)
	}
}
