package server

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pangea.example/pangea/services/go-orchestrator/internal/clock"
)

// at has the time turned by hand.
func at(t *testing.T) (*paced, *clock.Manual) {
	t.Helper()
	hands := clock.NewManual(time.Unix(1000, 0))
	return newPaced(nil, hands, DefaultPace(), prometheus.NewCounter(prometheus.CounterOpts{}), func() {}), hands
}

func wantLimit(t *testing.T, r *paced, seconds float64, why string) {
	t.Helper()
	limit, because := r.limit()
	if after := limit.Sub(time.Unix(1000, 0)).Seconds(); after != seconds || !strings.Contains(because, why) {
		t.Fatalf("the limit is after %v s: %s", after, because)
	}
}

func TestAConnectionHasToJoin(t *testing.T) {
	r, hands := at(t)
	wantLimit(t, r, 10, "no message arrived within 10s")
	hands.Advance(9 * time.Second)
	r.arrived(16)
	r.between(false, false)
	// Heartbeats do not help: they are not a join.
	for range 20 {
		hands.Advance(time.Second)
		r.arrived(16)
		r.between(false, false)
		wantLimit(t, r, 30, "has not joined within 30s")
	}
	r.joined.Store(true)
	wantLimit(t, r, 29+15*60, "no data arrived for 15m0s")
	r.heartbeat = 5 * time.Second
	wantLimit(t, r, 29+150, "no data arrived for 2m30s")
	r.heartbeat = time.Millisecond
	wantLimit(t, r, 29+60, "no data arrived for 1m0s")
}

func TestAFrameHasToArriveAtARate(t *testing.T) {
	r, hands := at(t)
	r.joined.Store(true)
	// A byte now and then gains nothing.
	for range 5 {
		hands.Advance(6 * time.Second)
		r.arrived(1)
	}
	limit, why := r.limit()
	if after := limit.Sub(time.Unix(1006, 0)); after < 30*time.Second || after > 31*time.Second ||
		!strings.Contains(why, "a frame took longer than 30s") {
		t.Fatalf("the limit is after %v: %s", after, why)
	}
	// A megabyte is worth 32 seconds.
	r.arrived(1 << 20)
	if later, _ := r.limit(); later.Sub(limit) != 32*time.Second {
		t.Fatalf("the limit moves by %v", later.Sub(limit))
	}
}

func TestAMessageOfSeveralFramesHasToBeCompleted(t *testing.T) {
	r, hands := at(t)
	r.joined.Store(true)
	for range 20 { // heartbeats between its frames
		r.arrived(16)
		r.between(false, true)
		hands.Advance(time.Second)
	}
	limit, why := r.limit()
	if after := limit.Sub(time.Unix(1000, 0)); after < 30*time.Second || after > 31*time.Second ||
		!strings.Contains(why, "a message was not completed") {
		t.Fatalf("the limit is after %v: %s", after, why)
	}
	r.between(false, false)
	if _, why := r.limit(); !strings.Contains(why, "no data arrived") {
		t.Fatal(why)
	}
}

func TestASilentPeerIsToldWhichLimitItPassed(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	theirs, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	ours, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	pace := Pace{First: time.Millisecond, Join: time.Millisecond, Message: time.Millisecond, LeastRate: 1 << 20,
		Idle: 50 * time.Millisecond}
	r := newPaced(ours.(stream), clock.System{}, pace, prometheus.NewCounter(prometheus.CounterOpts{}), func() {})
	var slow *tooSlowError
	if _, err := r.Read(make([]byte, 1)); !errors.As(err, &slow) || !strings.Contains(slow.reason, "no message arrived") {
		t.Fatal(err)
	}
	// It joined just then: another limit holds.
	r.joined.Store(true)
	if _, err := r.Read(make([]byte, 1)); !errors.As(err, &slow) || !strings.Contains(slow.reason, "no data arrived") {
		t.Fatal(err)
	}
}
