package run

import (
	"fmt"
	"log/slog"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// saving is the state of checkpoints.
type saving struct {
	wanted  bool // the next worker that holds the open step is asked for its state
	writing bool
	step    uint64    // of the one that is being written
	at      time.Time // when the last one was wanted
	failure string    // why the last one could not be written
}

// due says whether a worker is to be asked for its state: one checkpoint is written at a time.
func (s *saving) due() bool { return s.wanted && !s.writing }

func (m *Machine) takesCheckpoints() bool {
	return m.config.CheckpointSteps > 0 || m.config.CheckpointEvery > 0
}

// wantCheckpoint asks for one when it is time, after a step was closed.
func (m *Machine) wantCheckpoint() {
	number := m.step.number
	last := number == m.totalSteps()
	if !m.takesCheckpoints() || m.saving.writing && !last || !m.newer() {
		return
	}
	every, steps := m.config.CheckpointEvery, m.config.CheckpointSteps
	if last || steps > 0 && number%steps == 0 || every > 0 && m.now.Sub(m.saving.at) >= every {
		m.saving.wanted, m.saving.at = true, m.now
	}
}

// newer says whether the open step is further than the newest checkpoint, on the disk or on its way there.
func (m *Machine) newer() bool {
	if m.saving.writing && m.saving.step >= m.step.number {
		return false
	}
	newest := m.newestCheckpoint()
	return newest == nil || newest.Step < m.step.number
}

func (m *Machine) writeCheckpoint(s *protocol.Snapshot) {
	if !m.saving.due() {
		return
	}
	m.saving.wanted, m.saving.writing, m.saving.step = false, true, s.Step
	epoch, epochStep := m.schedule.Locate(s.Step)
	m.effects = append(m.effects, WriteCheckpoint{Snapshot: s.Retain(), Epoch: epoch, EpochStep: epochStep})
}

func (m *Machine) onWritten(e CheckpointWritten) {
	m.saving.writing = false
	if e.Err != nil {
		m.note(slog.LevelError, "cannot write a checkpoint; the next one is tried when it is due", "step", e.Checkpoint.Step, "error", e.Err.Error())
		m.saving.failure = fmt.Sprintf("cannot write the checkpoint of step %d: %v", e.Checkpoint.Step, e.Err)
		m.writeRecord()
		return
	}
	checkpoint := e.Checkpoint
	m.note(slog.LevelInfo, "checkpoint written", "step", checkpoint.Step, "file", checkpoint.File, "bytes", checkpoint.Bytes)
	m.commit(&checkpoint)
	m.checkpoints = append(m.checkpoints, checkpoint)
	if m.saving.failure != "" {
		m.saving.failure = ""
		m.writeRecord()
	}
	for len(m.checkpoints) > max(1, m.config.KeepCheckpoints) {
		m.effects = append(m.effects, RemoveCheckpoint{m.checkpoints[0]})
		m.checkpoints = m.checkpoints[1:]
	}
}

// onCheckpointAsked takes one as soon as a worker can give its state.
func (m *Machine) onCheckpointAsked(e CheckpointAsked) {
	if m.state != Running || m.ending {
		m.note(slog.LevelWarn, "no checkpoint can be taken: the run does not go on", "reason", e.Reason, "state", string(m.state))
		return
	}
	m.saving.wanted, m.saving.at = m.newer(), m.now
	m.note(slog.LevelInfo, "a checkpoint is asked for", "reason", e.Reason, "step", m.step.number, "needed", m.saving.wanted)
}

func (m *Machine) onStop(e StopAsked) {
	if m.state == Stopped {
		return
	}
	if !e.AtOnce && m.state == Running && m.takesCheckpoints() && m.newer() && m.inSight() {
		m.note(slog.LevelInfo, "run is to stop; it waits for a last checkpoint", "run", m.config.RunID, "reason", e.Reason, "step", m.step.number)
		m.ending, m.saving.wanted = true, true
		return
	}
	m.ending = false
	m.note(slog.LevelInfo, "run stops", "run", m.config.RunID, "reason", e.Reason, "step", m.step.number, "workers", len(m.workers))
	if m.state != Finished {
		m.state = Stopped
		m.finished = m.now
	}
	m.writeRecord()
}

// Saving says whether a checkpoint is on its way to the disk, or will be.
func (m *Machine) Saving() bool {
	return m.saving.writing || m.saving.wanted && m.inSight()
}
