package run

import (
	"log/slog"
	"slices"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
)

// onCannotLoad handles a worker that cannot load the state that it was sent. The agreed hash covers
// the parameters alone: what else is in a state, such as that of the optimizer, shows only now.
//
// A state that another worker has loaded is good, and the worker that complains is at fault: it
// must not take the run's checkpoints away.
func (m *Machine) onCannotLoad(w *worker) {
	r := &m.retention
	if !w.snapshotSent {
		return
	}
	if w.sentState == r.proven {
		m.note(slog.LevelWarn, "worker cannot load a state that another one has loaded", "id", w.id, "worker", w.name,
			"hash", w.sentState.String())
		return
	}
	m.note(slog.LevelError, "worker cannot load the state that it was sent; it is not sent to anybody again",
		"id", w.id, "worker", w.name, "hash", w.sentState.String(), "given_by", r.givenBy)
	if r.snapshot != nil && r.snapshot.Hash == w.sentState {
		if donor := m.roster.byID(r.givenBy); donor != nil {
			donor.cannotDonate = true
		}
		r.dropSnapshot()
	}
	r.checkpoints = slices.DeleteFunc(r.checkpoints, func(c ledger.Checkpoint) bool { return c.SHA256 == w.sentState })
}
