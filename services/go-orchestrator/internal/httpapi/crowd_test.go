package httpapi

import (
	"errors"
	"io"
	"net"
	"net/http"
	"testing"

	"pangea.example/pangea/services/go-orchestrator/internal/budget"
	"pangea.example/pangea/services/go-orchestrator/internal/telemetry"
)

func TestAProbeIsAnsweredBesideSilentAndSlowClients(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := New(source{}, telemetry.NewMetrics(budget.New("test", 7)).Handler(), nil)
	t.Cleanup(func() { _ = server.Close() })
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(Bounded(listener, 4)) }()
	address := listener.Addr().String()

	var clients []net.Conn
	for i := range 50 {
		client, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		if i%2 == 0 { // one that begins a request and does not end it
			if _, err := client.Write([]byte("GET /status HTTP/1.1\r\nX: ")); err != nil && !errors.Is(err, net.ErrClosed) {
				continue // it was closed for a newer one already
			}
		}
		clients = append(clients, client)
	}
	if err := Alive(t.Context(), address, nil); err != nil {
		t.Fatal(err)
	}
	// The oldest ones were closed for those that followed.
	if _, err := clients[0].Read(make([]byte, 1)); err == nil || errors.Is(err, net.ErrClosed) {
		t.Fatalf("the oldest client is still connected: %v", err)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		t.Fatal(err)
	}
}

func TestWhoeverOpensTheMostConnectionsMakesRoom(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	bounded := Bounded(listener, 4)
	t.Cleanup(func() { _ = bounded.Close() })
	accept := func(from string) net.Conn {
		t.Helper()
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		theirs, err := dialer.DialContext(t.Context(), "tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = theirs.Close() })
		ours, err := bounded.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ours.Close() })
		return ours
	}
	probe := accept("127.0.0.2")
	for range 20 {
		accept("127.0.0.3")
	}
	if _, err := probe.Write([]byte("x")); err != nil {
		t.Fatalf("the oldest connection, the only one of its address, was closed: %v", err)
	}
}

func TestAClosedConnectionFreesItsPlace(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	bounded := Bounded(listener, 2)
	t.Cleanup(func() { _ = bounded.Close() })
	accept := func() (ours, theirs net.Conn) {
		t.Helper()
		theirs, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = theirs.Close() })
		if ours, err = bounded.Accept(); err != nil {
			t.Fatal(err)
		}
		return ours, theirs
	}
	_, first := accept()
	second, _ := accept()
	for range 2 { // closing twice frees one place
		_ = second.Close()
	}
	third, _ := accept()
	if _, err := third.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	_, _ = accept()
	if _, err := first.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("the oldest of three was not closed: %v", err)
	}
}
