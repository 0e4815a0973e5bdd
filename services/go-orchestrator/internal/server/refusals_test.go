package server_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/wire"
	"pangea.example/pangea/services/go-orchestrator/internal/wiretest"
)

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
