package run

import (
	"log/slog"
	"slices"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
)

// rebase moves the open step to where the workers are. The ledger holds no gradients and no parameters: when all that hold the open step are
// gone, it goes back to the newest step that a worker or a checkpoint still holds and computes from there again, to the same bits; when one
// comes (back) that is further, it goes on from there.
func (m *Machine) rebase() {
	if m.layout == nil || m.state == Stopped || m.ending {
		return
	}
	if ahead := m.furthest(func(w *worker) bool { return !w.lost && w.here() && w.step > m.step.number }); ahead != nil {
		m.note(slog.LevelInfo, "a worker is further than the open step", "id", ahead.id, "worker", ahead.name, "open_step", m.step.number, "holds_step", ahead.step)
		m.reopen(ahead.step)
		return
	}
	// A state that can be handed out is as good as a worker that holds it.
	handed := m.snapshot != nil && m.reachable(m.snapshot.Step)
	if m.loading || handed || m.inSight() || !slices.ContainsFunc(m.workers, func(w *worker) bool { return w.waiting }) {
		return
	}
	base := m.furthest(func(w *worker) bool { return w.waiting && w.here() })
	if newest := m.newestCheckpoint(); newest != nil && (base == nil || newest.Step > base.step) {
		m.loading = true
		m.effects = append(m.effects, LoadCheckpoint{*newest})
		return
	}
	if base != nil {
		m.note(slog.LevelInfo, "nobody holds the open step any more; it is computed again from an earlier one", "open_step", m.step.number, "from_step", base.step, "id", base.id, "worker", base.name)
		m.reopen(base.step)
		base.lost, base.served = false, false
		m.resumed(Resumption{Step: base.step})
	}
}

// furthest gives the sound worker with most steps among those that fit; nil if none does.
func (m *Machine) furthest(fits func(w *worker) bool) *worker {
	var best *worker
	for _, w := range m.workers {
		if w.sound && fits(w) && (best == nil || w.step > best.step) {
			best = w
		}
	}
	return best
}

// inSight says whether a worker is there that holds the open step, or will when it has applied the aggregates that are kept.
func (m *Machine) inSight() bool {
	return slices.ContainsFunc(m.workers, func(w *worker) bool { return !w.lost && w.here() && m.reachable(w.step) })
}

// reopen makes another step the open one, and forgets the sums around it.
func (m *Machine) reopen(number uint64) {
	m.step.tree.Discard()
	for len(m.aggregates) > 0 {
		m.dropOldest()
	}
	if m.snapshot != nil && m.snapshot.Step != number {
		m.dropSnapshot()
	}
	m.openStep(number)
}

func (m *Machine) newestCheckpoint() *ledger.Checkpoint {
	if len(m.checkpoints) == 0 {
		return nil
	}
	return &m.checkpoints[len(m.checkpoints)-1]
}

func (m *Machine) onLoaded(e CheckpointLoaded) {
	m.loading = false
	drop := func() {
		if e.Snapshot != nil {
			e.Snapshot.Release()
		}
	}
	reference, known := m.reference(e.Checkpoint.Step)
	switch {
	case e.Err != nil:
		m.note(slog.LevelError, "a checkpoint cannot be used; an older one is tried", "file", e.Checkpoint.File, "error", e.Err.Error())
		m.checkpoints = slices.DeleteFunc(m.checkpoints, func(c ledger.Checkpoint) bool { return c.File == e.Checkpoint.File })
		drop()
	case known && reference != e.Checkpoint.ParamsHash:
		m.note(slog.LevelError, "a checkpoint is not of this run; an older one is tried", "file", e.Checkpoint.File, "hash", e.Checkpoint.ParamsHash.String(), "run_hash", reference.String())
		m.checkpoints = slices.DeleteFunc(m.checkpoints, func(c ledger.Checkpoint) bool { return c.File == e.Checkpoint.File })
		drop()
	case m.inSight() || m.state == Stopped:
		drop() // A worker came that holds more.
	default:
		m.note(slog.LevelInfo, "the run goes on from a checkpoint", "file", e.Checkpoint.File, "step", e.Checkpoint.Step, "open_step", m.step.number,
			"steps_again", m.committed()-e.Checkpoint.Step)
		m.reopen(e.Checkpoint.Step)
		m.dropSnapshot()
		m.snapshot = e.Snapshot
		m.resumed(Resumption{Step: e.Checkpoint.Step, File: e.Checkpoint.File})
		if !known {
			// Nobody has said what the parameters after the last committed step are; those of a checkpoint were agreed on when it was written.
			m.accept(claim{hash: e.Checkpoint.ParamsHash})
		}
	}
}

// resumed notes from where the run is computed on after nobody held its open step any more.
func (m *Machine) resumed(from Resumption) {
	from.StepsAgain = m.committed() - from.Step
	m.resumption = &from
	m.writeRecord()
}
