package run

import (
	"slices"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// roster is who takes part in the run, who ever did, and who may not come back.
//
// The order of workers is part of the machine's determinism: whatever looks through them finds the
// same one first in every history with the same events. An id is never given twice, not even by a
// later process of the run, because the ledger names workers by it.
type roster struct {
	workers []*worker           // those that are connected, ascending by id
	names   map[uint32]string   // of all workers that ever joined, by id
	lastID  uint32              // the highest id ever given
	known   map[string]struct{} // their names
	// Of those that joined just now, the records that are to be committed.
	newcomers newcomers
	// Somebody has joined since the process was started, so somebody can be told how the run ended.
	joined bool

	// A worker that was proven wrong comes back under its name, with another id on another connection.
	quarantined map[string]string // why, by name
	// How often its parameters were not the run's, by name: the second time leads to quarantine.
	diverged map[string]int

	// Which steps they contradicted.
	complaints map[complaint]struct{}

	// Connections whose worker was removed before it asked: what its next request is answered with.
	rejectedPeers map[Peer]*protocol.Error
}

func newRoster() roster {
	return roster{names: map[uint32]string{}, known: map[string]struct{}{}, quarantined: map[string]string{}, diverged: map[string]int{},
		rejectedPeers: map[Peer]*protocol.Error{}}
}

// worker is one that has joined.
type worker struct {
	id   uint32
	peer Peer
	name string
	pid  uint32

	step    uint64            // steps applied to its parameters, as it last reported
	hash    protocol.Hash     // of these parameters
	figures []protocol.Figure // logged after the last of these steps
	waiting bool              // its request for work is held back until there is an answer to it
	request uint64            // the id of that request
	// When it was last answered: how long it takes for what it was told counts from then.
	answered time.Time
	leased   int // shards in that answer
	// The generation of the sum that it is being sent, or was.
	streamed uint64

	// verified: hash is that of the run's parameters after as many steps, or was reported for the open
	// step and nobody has decided yet. Only such a worker's sums are taken, and only from its
	// parameters is anything computed again.
	verified bool
	// needsSnapshot: its parameters are not the run's, or the aggregates that would bring them to the
	// open step are dropped. It gets no lease and no aggregate until it reports parameters that it was
	// sent.
	needsSnapshot bool
	snapshotSent  bool          // it needs a snapshot, and has been sent one
	sentState     protocol.Hash // of that snapshot

	// When it was last asked for its state, and after how many steps. It sends that beside its work.
	askedAt   time.Time
	askedStep uint64
	// It was asked for its state and sent none that can be used: it is never asked again.
	cannotDonate bool
	noDonorUntil time.Time // it did not send its state in time, and is not asked again before this

	heartbeat time.Duration // the longest silence that it promised; 0 for no promise
	lastSeen  time.Time     // when anything last arrived from it
	silent    bool          // nothing has arrived for several heartbeats
	// Nothing but heartbeats has arrived for much longer than its task should take.
	hanging bool
}

// responsive reports whether a worker can be waited for.
func (w *worker) responsive() bool { return !w.silent && !w.hanging }

// find returns the worker of a connection, or nil.
func (r *roster) find(peer Peer) *worker {
	for _, w := range r.workers {
		if w.peer == peer {
			return w
		}
	}
	return nil
}

// byID returns a worker that is connected, or nil.
func (r *roster) byID(id uint32) *worker {
	for _, w := range r.workers {
		if w.id == id {
			return w
		}
	}
	return nil
}

// add assigns an id to a worker, and adds it.
func (r *roster) add(w *worker) {
	r.lastID++
	r.joined = true
	w.id = r.lastID
	r.names[w.id] = w.name
	r.known[w.name] = struct{}{}
	r.workers = append(r.workers, w)
}

// restore takes a worker from the ledger: its id stays taken.
func (r *roster) restore(id uint32, name string) {
	r.lastID = max(r.lastID, id)
	r.names[id] = name
	r.known[name] = struct{}{}
}

func (r *roster) remove(w *worker) {
	r.workers = slices.DeleteFunc(r.workers, func(other *worker) bool { return other == w })
}

// any reports whether a worker fits.
func (r *roster) any(fits func(w *worker) bool) bool { return slices.ContainsFunc(r.workers, fits) }

// furthest returns the verified worker with the most steps among those that fit; nil if none does.
// Of several the one that joined first.
func (r *roster) furthest(fits func(w *worker) bool) *worker {
	var best *worker
	for _, w := range r.workers {
		if w.verified && fits(w) && (best == nil || w.step > best.step) {
			best = w
		}
	}
	return best
}

// snapshotNeeded reports whether a worker waits for a snapshot.
func (r *roster) snapshotNeeded() bool {
	return r.any(func(w *worker) bool { return w.needsSnapshot && w.waiting })
}
