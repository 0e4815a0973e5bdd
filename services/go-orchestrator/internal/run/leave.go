package run

import (
	"log/slog"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

func (m *Machine) onLeave(e LeaveRequested) {
	w := m.roster.find(e.Peer)
	if _, was := m.roster.rejectedPeers[e.Peer]; e.Leave.Broken != "" && (w != nil || was) {
		m.onBroken(w, e.Leave.Broken)
		w = m.roster.find(e.Peer)
	}
	if w != nil && e.Leave.CannotLoad {
		m.onCannotLoad(w)
	}
	if w != nil {
		// This withdraws a request for work that is held back: that gets no answer of its own.
		m.note(slog.LevelInfo, "worker leaves", "id", w.id, "worker", w.name,
			"reason", e.Leave.Reason, "workers", len(m.roster.workers)-1)
		m.remove(w)
	}
	m.send(e.Peer, e.Request, protocol.Left{Reason: "as you asked"})
}

// onBroken handles a worker's report of how its script breaks the promise of the same bits.
func (m *Machine) onBroken(w *worker, detail string) {
	id := uint32(nobody)
	if w != nil {
		id = w.id
	}
	m.incident(ledger.Script, 0, 0, id, detail)
	m.breakPromise(detail)
}

func (m *Machine) onDisconnect(e PeerDisconnected) {
	delete(m.roster.rejectedPeers, e.Peer)
	if w := m.roster.find(e.Peer); w != nil {
		level := slog.LevelWarn
		if m.state == Finished || m.state == Stopped {
			level = slog.LevelInfo
		}
		m.note(level, "worker is gone", "event", eventWorkerGone, "id", w.id, "worker", w.name, "reason", e.Reason,
			"workers", len(m.roster.workers)-1)
		m.remove(w)
	}
}

// remove takes a worker from the run and its shards from the worker; settle gives them to others.
func (m *Machine) remove(w *worker) {
	m.roster.remove(w)
	m.releaseLeases(w)
}

// releaseLeases takes what a worker would have computed from it, and no longer waits for its state.
func (m *Machine) releaseLeases(w *worker) {
	m.step.leave(w.id)
	if m.retention.donor == w {
		m.retention.donor = nil
	}
}

// notJoined says why a connection without a worker may not make requests.
func (m *Machine) notJoined(peer Peer) *protocol.Error {
	if why, is := m.roster.rejectedPeers[peer]; is {
		return why
	}
	return protocol.Errorf(protocol.FixRequest, "this connection has not joined the run; send a JoinRequest first")
}
