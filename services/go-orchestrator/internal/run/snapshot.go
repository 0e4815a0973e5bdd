package run

import (
	"log/slog"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// snapshotWanted reports whether a worker has to be asked for its state: another one waits for it,
// and nobody has been asked yet.
func (m *Machine) snapshotWanted() bool {
	return m.retention.snapshot == nil && m.retention.donor == nil && m.roster.snapshotNeeded()
}

// donorInSight reports whether a worker is there whose state another one may wait for.
func (m *Machine) donorInSight() bool {
	return m.roster.any(func(w *worker) bool { return !w.needsSnapshot && w.responsive() && m.donates(w) })
}

// donates reports whether a worker can be asked for its state.
func (m *Machine) donates(w *worker) bool { return !w.cannotDonate && !m.now.Before(w.noDonorUntil) }

// donorWaits reports whether the donor gets no other work before its state has arrived. As a rule
// it does, and the run continues meanwhile. But a newcomer for which the last state came too late
// must not be outpaced again.
func (m *Machine) donorWaits() bool { return m.retention.outpaced || m.firstStateInFlight() }

// firstStateInFlight reports whether the initial state of the run was asked for and has not
// arrived. No step is closed before: after a tie there would be nothing to continue from.
func (m *Machine) firstStateInFlight() bool {
	r := &m.retention
	return r.donor != nil && r.saving.due() && r.saving.least == 0
}

func (m *Machine) onSnapshot(e SnapshotReceived) {
	const kind = protocol.KindSnapshot
	r, s := &m.retention, e.Snapshot
	w := m.roster.find(e.Peer)
	if w == nil {
		s.Release()
		m.refuse(e.Peer, e.Request, kind, m.notJoined(e.Peer))
		return
	}
	r.donations.add(m.now.Sub(w.askedAt), 1)
	w.noDonorUntil = time.Time{}
	if w != r.donor && !r.saving.due() && !m.snapshotWanted() {
		// It took so long that another one was asked.
		m.note(slog.LevelWarn, "worker sent its state, which is no longer needed", "id", w.id, "worker", w.name,
			"step", s.Step)
		s.Release()
		return
	}
	if w == r.donor && s.Step >= w.askedStep {
		r.donor = nil // else it is what it was asked for before, and another one follows
	}
	if reference, known := m.agreement.reference(s.Step); !known || s.ParametersHash != reference {
		m.note(slog.LevelError, "worker sent a snapshot that does not belong to the run", "id", w.id, "worker", w.name,
			"step", s.Step, "asked_step", w.askedStep,
			"hash", s.ParametersHash.String(), "run_hash", reference.String())
		w.cannotDonate = true
		s.Release()
		return
	}
	if e.Wrong != "" {
		m.note(slog.LevelError, "worker sent a state that is not what it says; it is not used, and another worker is asked",
			"id", w.id, "worker", w.name, "step", s.Step, "reason", e.Wrong)
		w.cannotDonate = true
		s.Release()
		return
	}
	m.note(slog.LevelInfo, "worker sent its state", "id", w.id, "worker", w.name, "step", s.Step, "bytes", s.TotalBytes)
	m.writeCheckpoint(s)
	if !m.reachable(s.Step) {
		s.Release() // The run is too far ahead of it by now; settle asks again.
		r.outpaced = m.roster.snapshotNeeded()
		return
	}
	r.keep(s, w.id)
}
