package run

import (
	"log/slog"
	"slices"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/tree"
)

// end is how the run ends, or this process's part in it, where it is not after the last step of the
// schedule.
//
// A script may end it early (stop): all workers are brought to the same step, and the run is
// finished there. Its promise may be broken (halt): nobody can use what comes out. And the process
// may be asked to stop (drain), for another one to continue the run.
type end struct {
	stop   *ledger.Stop // a script has ended the run
	halted string       // why the run was stopped for good; "" where it was not
	// The process stops, and only a last checkpoint is waited for: no step is closed and no lease
	// given.
	draining bool
}

// reason says why the run ended, or will end, before its last step; empty where it does not.
func (e *end) reason() string {
	switch {
	case e.halted != "":
		return e.halted
	case e.stop != nil:
		return e.stop.Reason
	}
	return ""
}

// totalSteps is after how many steps the run is finished.
func (m *Machine) totalSteps() uint64 {
	if m.end.stop != nil {
		return m.end.stop.Steps
	}
	return m.identity.schedule.TotalSteps
}

// onStopByScript ends the run after the last committed step, because the script of a worker has
// left its loop. What has arrived for the open step is discarded; but during a replay that step,
// and those after it up to the last committed one, are finished first.
func (m *Machine) onStopByScript(w *worker, reason string) {
	committed := m.agreement.committed()
	if m.end.stop != nil || m.state != Running || committed >= m.identity.schedule.TotalSteps {
		return
	}
	m.end.stop = m.stopRecord(committed, reason, w.id)
	m.commit(m.end.stop)
	if !m.replaying() {
		m.restartStep()
		m.wantCheckpoint()
	}
}

// stopIn returns the record of the stop that a step's reports ask for, or nil. The reason of the
// lowest shard counts, so that the record is the same for any number of workers.
func (m *Machine) stopIn(contributions []*tree.Contribution) *ledger.Stop {
	next := m.step.number + 1
	if m.end.stop != nil || next >= m.identity.schedule.TotalSteps {
		return nil
	}
	for _, c := range contributions {
		for _, report := range c.Reports {
			if report.Stop != "" {
				return m.stopRecord(next, report.Stop, c.Worker)
			}
		}
	}
	return nil
}

func (m *Machine) stopRecord(steps uint64, reason string, id uint32) *ledger.Stop {
	name := m.roster.names[id]
	m.note(slog.LevelInfo, "a script ends the run before its last step", "steps", steps,
		"total_steps", m.identity.schedule.TotalSteps, "id", id, "worker", name, "reason", reason)
	return &ledger.Stop{Steps: steps, Reason: reason, Worker: id, Name: name, Time: m.now.UTC()}
}

// finish ends the run when all its steps are committed and the workers agree on the result. After a
// restart both may follow from the ledger alone, but then workers are being started, too, and must
// find an orchestrator that tells them.
func (m *Machine) finish() bool {
	head, committed := m.agreement.headHash, m.agreement.committed()
	if m.state != Running || head == nil || committed != m.totalSteps() || !m.roster.joined {
		return false
	}
	m.state, m.figures.finished = Finished, m.now
	m.note(slog.LevelInfo, "run is finished", "run", m.config.RunID, "steps", committed, "params_hash", head.String(),
		"seconds", m.now.Sub(m.figures.started).Seconds(),
		"stopped", m.end.reason(), "incidents", m.figures.incidents)
	m.commit(&ledger.Finished{Steps: committed, ParamsHash: *head, Figures: m.agreement.headFigures})
	m.writeRecord()
	return true
}

// halt ends the run for everybody, for a reason that a person has to look at.
func (m *Machine) halt(detail string) {
	if m.state != Running {
		return
	}
	m.end.halted = detail
	m.note(slog.LevelError, "the run is stopped", "run", m.config.RunID, "step", m.step.number, "reason", detail)
	m.restartStep()
	m.state, m.figures.finished, m.retention.saving.wanted, m.end.draining = Stopped, m.now, false, false
	m.writeRecord()
	for _, w := range slices.Clone(m.roster.workers) {
		m.dismiss(w.id, protocol.Errorf(protocol.Stop, "%s", detail))
	}
}

// onStopRequest ends this process's part in the run: after a last checkpoint, if one is needed and
// a worker is there that can give its state.
func (m *Machine) onStopRequest(e StopRequested) {
	if m.state == Stopped {
		return
	}
	if !e.AtOnce && m.state == Running && m.takesCheckpoints() && m.retention.checkpointNeeded(m.step.number) &&
		m.openStepInSight() {
		m.note(slog.LevelInfo, "run is stopping; it waits for a last checkpoint", "run", m.config.RunID, "reason", e.Reason,
			"step", m.step.number)
		m.end.draining = true
		m.retention.saving.want(m.step.number)
		return
	}
	m.end.draining = false
	if len(m.roster.newcomers.records) > 0 {
		m.commit()
	}
	m.note(slog.LevelInfo, "run stops", "run", m.config.RunID, "reason", e.Reason, "step", m.step.number,
		"workers", len(m.roster.workers))
	if m.state != Finished {
		m.state = Stopped
		m.figures.finished = m.now
	}
	m.writeRecord()
}
