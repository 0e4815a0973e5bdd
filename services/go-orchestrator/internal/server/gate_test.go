package server

import (
	"fmt"
	"testing"
)

// crowdOf are peers from one address.
func crowdOf(origin string, count int) (crowd []*peer) {
	for range count {
		crowd = append(crowd, &peer{origin: origin})
	}
	return crowd
}

func enter(t *testing.T, g *gate, p *peer) (instead *peer) {
	t.Helper()
	instead, entered := g.enter(p)
	if !entered {
		t.Fatalf("no place for a newcomer from %s", p.origin)
	}
	return instead
}

func TestTheOldestNewcomerMakesRoom(t *testing.T) {
	g := newGate(16) // 4 newcomers, 8 from one address
	strangers := crowdOf("10.0.0.1", 100)
	for i, p := range strangers {
		want := (*peer)(nil)
		if i >= 4 {
			want = strangers[i-4]
		}
		if instead := enter(t, g, p); instead != want {
			t.Fatalf("stranger %d takes another one's place", i)
		}
	}
	// From the address that has the most, whoever came first.
	worker := &peer{origin: "10.0.0.2"}
	if instead := enter(t, g, worker); instead != strangers[96] {
		t.Fatal("another one makes room")
	}
	for i, p := range crowdOf("10.0.0.1", 50) {
		if instead := enter(t, g, p); instead == worker {
			t.Fatalf("stranger %d takes the place of the worker from another address", i)
		}
	}
}

func TestWorkersKeepTheirPlaces(t *testing.T) {
	g := newGate(16)
	workers := crowdOf("10.0.0.1", 8)
	for _, p := range workers {
		enter(t, g, p)
		g.joined(p)
	}
	// Half of the places are for one address.
	if _, entered := g.enter(&peer{origin: "10.0.0.1"}); entered {
		t.Fatal("an address has more than half of the places")
	}
	for i := range 8 {
		p := &peer{origin: fmt.Sprintf("10.0.1.%d", i)}
		enter(t, g, p)
		g.joined(p)
	}
	if _, entered := g.enter(&peer{origin: "10.0.2.1"}); entered {
		t.Fatal("there are more connections than places")
	}
	for range 2 { // leaving twice frees one place
		g.leave(workers[0])
	}
	enter(t, g, &peer{origin: "10.0.2.1"})
	if _, entered := g.enter(&peer{origin: "10.0.2.2"}); !entered {
		t.Fatal("the newcomer does not make room")
	}
	if len(g.inside) != 16 || g.from["10.0.0.1"] != 7 {
		t.Fatalf("%d are inside, %d from the first address", len(g.inside), g.from["10.0.0.1"])
	}
}
