package run

import (
	"log/slog"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// snapshotWanted says whether a worker has to be asked for its state: another one waits for it, and nobody has been asked yet.
func (m *Machine) snapshotWanted() bool {
	if m.snapshot != nil || m.donor != nil {
		return false
	}
	for _, w := range m.workers {
		if w.lost && w.waiting {
			return true
		}
	}
	return false
}

// donorInSight says whether a worker is there that holds the open step, or will when it has applied the aggregates.
func (m *Machine) donorInSight() bool {
	for _, w := range m.workers {
		if !w.lost && w.here() && m.donates(w) {
			return true
		}
	}
	return false
}

// donates says whether a worker can be asked for its state.
func (m *Machine) donates(w *worker) bool { return !w.unfit && !m.now.Before(w.noDonorUntil) }

func (m *Machine) onSnapshot(e SnapshotCame) {
	const kind = protocol.KindSnapshot
	s := e.Snapshot
	w := m.find(e.Peer)
	if w == nil {
		s.Release()
		m.refuse(e.Peer, e.Request, kind, m.notJoined(e.Peer))
		return
	}
	m.giving.add(m.now.Sub(w.answered), 1)
	w.noDonorUntil = time.Time{}
	if w != m.donor && !m.saving.due() && !m.snapshotWanted() {
		// It has taken so long that another one was asked.
		m.note(slog.LevelWarn, "worker sent its state, which is not waited for any more", "id", w.id, "worker", w.name, "step", s.Step)
		s.Release()
		return
	}
	if w == m.donor {
		m.donor = nil
	}
	if reference, _ := m.reference(s.Step); s.Step != w.step || s.ParametersHash != reference {
		m.note(slog.LevelError, "worker sent a snapshot that is not of the run", "id", w.id, "worker", w.name, "step", s.Step, "asked_step", w.step,
			"hash", s.ParametersHash.String(), "run_hash", reference.String())
		w.unfit = true
		s.Release()
		return
	}
	m.note(slog.LevelInfo, "worker sent its state", "id", w.id, "worker", w.name, "step", s.Step, "bytes", s.TotalBytes)
	m.writeCheckpoint(s)
	if !m.reachable(s.Step) {
		s.Release() // The run has gone on too far; settle asks again.
		return
	}
	m.dropSnapshot()
	m.snapshot = s
}

func (m *Machine) dropSnapshot() {
	if m.snapshot != nil {
		m.snapshot.Release()
		m.snapshot = nil
	}
}
