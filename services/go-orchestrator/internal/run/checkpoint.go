package run

import (
	"fmt"
	"log/slog"

	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

func (m *Machine) takesCheckpoints() bool {
	return m.config.CheckpointSteps > 0 || m.config.CheckpointEvery > 0
}

// wantCheckpoint asks for one when it is time, after a step was closed. The one after the last step
// is not skipped for one that is still being written: it is the result of the run.
func (m *Machine) wantCheckpoint() {
	saving, number := &m.retention.saving, m.step.number
	last := number == m.totalSteps()
	if !m.takesCheckpoints() || saving.writing && !last || !m.retention.checkpointNeeded(number) {
		return
	}
	every, steps := m.config.CheckpointEvery, m.config.CheckpointSteps
	if last || steps > 0 && number%steps == 0 || every > 0 && m.now.Sub(saving.at) >= every {
		saving.want(number)
		saving.at = m.now
	}
}

// writeCheckpoint writes a worker's state, which has the run's hash, if a checkpoint is due. One
// that was asked for before the one that is due is written too, and followed by it.
func (m *Machine) writeCheckpoint(s *protocol.Snapshot) {
	saving := &m.retention.saving
	if !saving.due() || !m.retention.checkpointNeeded(s.Step) {
		return
	}
	saving.wanted, saving.writing, saving.step = s.Step < saving.least, true, s.Step
	epoch, epochStep := m.identity.schedule.Locate(s.Step)
	m.effects = append(m.effects, WriteCheckpoint{Snapshot: s.Retain(), Epoch: epoch, EpochStep: epochStep})
}

func (m *Machine) onWritten(e CheckpointWritten) {
	r := &m.retention
	r.saving.writing = false
	if e.Err != nil {
		m.note(slog.LevelError, "cannot write a checkpoint; the next one will be tried when it is due",
			"step", e.Checkpoint.Step, "error", e.Err.Error())
		r.saving.failure = fmt.Sprintf("cannot write the checkpoint of step %d: %v", e.Checkpoint.Step, e.Err)
		m.writeRecord()
		return
	}
	checkpoint := e.Checkpoint
	m.note(slog.LevelInfo, "checkpoint written", "step", checkpoint.Step, "file", checkpoint.File,
		"bytes", checkpoint.Bytes)
	m.commit(&checkpoint)
	r.addCheckpoint(checkpoint)
	if r.saving.failure != "" {
		r.saving.failure = ""
		m.writeRecord()
	}
	// Only now, when the ledger names the new one, may older ones go: at every moment one of those
	// that it names is whole.
	for len(r.checkpoints) > max(1, m.config.KeepCheckpoints) {
		m.effects = append(m.effects, RemoveCheckpoint{r.checkpoints[0]})
		r.checkpoints = r.checkpoints[1:]
	}
}

// onCheckpointRequest takes one as soon as a worker can give its state.
func (m *Machine) onCheckpointRequest(e CheckpointRequested) {
	saving := &m.retention.saving
	if m.state != Running || m.end.draining {
		m.note(slog.LevelWarn, "no checkpoint can be taken: the run is not running", "reason", e.Reason,
			"state", string(m.state))
		return
	}
	saving.at = m.now
	if saving.wanted = m.retention.checkpointNeeded(m.step.number); saving.wanted {
		saving.want(m.step.number)
	}
	m.note(slog.LevelInfo, "a checkpoint was requested", "reason", e.Reason, "step", m.step.number,
		"needed", saving.wanted)
}

// Saving reports whether a checkpoint is on its way to the disk, or will be.
func (m *Machine) Saving() bool {
	return m.retention.saving.writing || m.retention.saving.wanted && m.openStepInSight()
}
