package run

import "log/slog"

// rebase moves the open step to where the workers are. The ledger holds no gradients and no
// parameters: when all that hold the open step are gone, it goes back to the newest step that a
// worker or a checkpoint still holds and computes from there again, to the same bits; when a worker
// comes (back) that is further, it continues from there.
func (m *Machine) rebase() {
	if m.identity.layout == nil || m.state == Stopped || m.end.draining {
		return
	}
	if ahead := m.roster.furthest(func(w *worker) bool {
		return !w.needsSnapshot && w.responsive() &&
			w.step > m.step.number
	}); ahead != nil {
		m.note(slog.LevelInfo, "a worker is ahead of the open step", "id", ahead.id, "worker", ahead.name,
			"open_step", m.step.number, "holds_step", ahead.step)
		m.reopen(ahead.step)
		return
	}
	// A state that can be handed out is as good as a worker that holds it.
	r := &m.retention
	handedOut := r.snapshot != nil && m.reachable(r.snapshot.Step)
	if r.loading || handedOut || m.openStepInSight() || !m.roster.any(func(w *worker) bool { return w.waiting }) {
		return
	}
	base := m.roster.furthest(func(w *worker) bool { return w.waiting && w.responsive() })
	if newest := r.newestCheckpoint(); newest != nil && (base == nil || newest.Step > base.step) {
		r.loading = true
		m.effects = append(m.effects, LoadCheckpoint{*newest})
		return
	}
	if base != nil {
		m.note(slog.LevelInfo, "no worker holds the open step any more; the run continues from an earlier one",
			"open_step", m.step.number, "from_step", base.step, "id", base.id, "worker", base.name)
		m.reopen(base.step)
		base.needsSnapshot, base.snapshotSent = false, false
		m.resumed(Resumption{Step: base.step})
	}
}

// reopen makes another step the open one, and forgets the sums around it: what is kept must reach
// up to the open step without a gap.
func (m *Machine) reopen(number uint64) {
	m.discardSum()
	for len(m.retention.aggregates) > 0 {
		m.dropOldest()
	}
	if s := m.retention.snapshot; s != nil && s.Step != number {
		m.retention.dropSnapshot()
	}
	m.openStep(number)
}

func (m *Machine) onLoaded(e CheckpointLoaded) {
	m.retention.loading = false
	drop := func() {
		if e.Snapshot != nil {
			e.Snapshot.Release()
		}
	}
	reference, known := m.agreement.reference(e.Checkpoint.Step)
	switch {
	case e.Err != nil:
		m.note(slog.LevelError, "a checkpoint cannot be used; an older one will be tried",
			"event", eventCheckpointRefused, "file", e.Checkpoint.File,
			"error", e.Err.Error())
		m.retention.forget(e.Checkpoint.File)
		drop()
	case known && reference != e.Checkpoint.ParamsHash:
		m.note(slog.LevelError, "a checkpoint does not belong to this run; an older one will be tried",
			"event", eventCheckpointRefused, "file", e.Checkpoint.File, "hash", e.Checkpoint.ParamsHash.String(), "run_hash", reference.String())
		m.retention.forget(e.Checkpoint.File)
		drop()
	case m.openStepInSight() || m.state == Stopped:
		drop() // A worker has joined that holds more.
	default:
		m.note(slog.LevelInfo, "the run continues from a checkpoint", "file", e.Checkpoint.File, "step", e.Checkpoint.Step,
			"open_step", m.step.number,
			"steps_again", m.agreement.committed()-e.Checkpoint.Step)
		m.reopen(e.Checkpoint.Step)
		m.retention.keep(e.Snapshot, 0)
		m.resumed(Resumption{Step: e.Checkpoint.Step, File: e.Checkpoint.File})
		if !known {
			// Nobody has reported the parameters after the last committed step; those of a checkpoint were
			// agreed on before it was written.
			m.acceptHead(e.Checkpoint.ParamsHash)
		}
	}
}

// resumed notes from where the run continues after nobody held its open step any more.
func (m *Machine) resumed(from Resumption) {
	from.StepsAgain = m.agreement.committed() - from.Step
	m.figures.resumption = &from
	m.writeRecord()
}
