package server

import (
	"container/list"
	"net"
	"sync"
)

// gate decides which connections stay. Whoever can reach the port can open connections, but only
// those that join are of use; so the others, the newcomers, have places of their own, and the
// oldest of them makes room for the next one: however many arrive, the latest has the time that a
// join takes. The places of workers that have joined are never taken from them.
type gate struct {
	most      int // connections
	newcomers int // of them that have not joined
	address   int // of them from one address

	mutex   sync.Mutex
	inside  map[*peer]*list.Element // nil for a peer that has joined
	waiting *list.List              // newcomers, the oldest first
	from    map[string]int          // connections by address
}

func newGate(most int) *gate {
	return &gate{most: most, newcomers: max(1, most/4), address: max(1, most/2),
		inside: map[*peer]*list.Element{}, waiting: list.New(), from: map[string]int{}}
}

// reserved is how many places are kept free for workers that were in the run before.
func reserved(most int) int { return most / 8 }

// enter takes a connection in, in the place of another one that must be closed, if there is one. It
// reports false where no place is left.
func (g *gate) enter(p *peer) (instead *peer, entered bool) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	switch {
	case g.from[p.origin] >= g.address:
		instead = g.oldest(func(other *peer) bool { return other.origin == p.origin })
	case len(g.inside) >= g.most || g.waiting.Len() >= g.newcomers:
		crowd := g.crowd()
		instead = g.oldest(func(other *peer) bool { return g.from[other.origin] == crowd })
	default:
		g.add(p)
		return nil, true
	}
	if instead == nil {
		return nil, false
	}
	g.remove(instead)
	g.add(p)
	return instead, true
}

func (g *gate) add(p *peer) {
	g.inside[p] = g.waiting.PushBack(p)
	g.from[p.origin]++
}

// crowd is how many connections there are from the address of newcomers that has the most.
func (g *gate) crowd() (most int) {
	for e := g.waiting.Front(); e != nil; e = e.Next() {
		most = max(most, g.from[e.Value.(*peer).origin])
	}
	return most
}

// oldest returns the newcomer that waits longest among those that fit; nil if none does.
func (g *gate) oldest(fits func(*peer) bool) *peer {
	for e := g.waiting.Front(); e != nil; e = e.Next() {
		if p := e.Value.(*peer); fits(p) {
			return p
		}
	}
	return nil
}

// joined gives a newcomer a place of its own.
func (g *gate) joined(p *peer) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if e := g.inside[p]; e != nil {
		g.waiting.Remove(e)
		g.inside[p] = nil
	}
}

// leave frees the place of a connection. One that has none is left alone.
func (g *gate) leave(p *peer) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	g.remove(p)
}

func (g *gate) remove(p *peer) {
	e, is := g.inside[p]
	if !is {
		return
	}
	if e != nil {
		g.waiting.Remove(e)
	}
	delete(g.inside, p)
	if g.from[p.origin]--; g.from[p.origin] <= 0 {
		delete(g.from, p.origin)
	}
}

// originOf is what connections are counted by: the host of a remote address. All workers behind one
// Unix socket are of one user, who may open as many as there are.
func originOf(connection net.Conn) string {
	host, _, err := net.SplitHostPort(connection.RemoteAddr().String())
	if err != nil {
		return ""
	}
	return host
}
