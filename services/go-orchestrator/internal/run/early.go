package run

import (
	"fmt"
	"log/slog"
	"slices"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/tree"
)

// A run ends before its last step because a script says so (stop: all workers are brought to the same step, and the run is finished there), or
// because its promise is broken (halt: nobody can use what comes out).

// totalSteps is after how many steps the run is finished.
func (m *Machine) totalSteps() uint64 {
	if m.stop != nil {
		return m.stop.Steps
	}
	return m.schedule.TotalSteps
}

// stopped says why the run ended, or will end, before its last step; empty where it does not.
func (m *Machine) stopped() string {
	switch {
	case m.halted != "":
		return m.halted
	case m.stop != nil:
		return m.stop.Reason
	}
	return ""
}

// stopAsked ends the run after the last committed step, as the script of a worker asks that has left its loop. What has come of the open step is
// dropped; a step that is computed again is finished first, and those after it, up to the last committed one.
func (m *Machine) stopAsked(w *worker, reason string) {
	if m.stop != nil || m.state != Running || m.committed() >= m.schedule.TotalSteps {
		return
	}
	m.stop = m.stopRecord(m.committed(), reason, w.id)
	m.commit(m.stop)
	if !m.replaying() {
		m.restartStep()
		m.wantCheckpoint()
	}
}

// stopIn gives the record of the stop that a step's reports ask for, or nil. The lowest shard counts, so that it is the same for any number of
// workers.
func (m *Machine) stopIn(contributions []*tree.Contribution) *ledger.Stop {
	next := m.step.number + 1
	if m.stop != nil || next >= m.schedule.TotalSteps {
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
	m.note(slog.LevelInfo, "a script ends the run before its last step", "steps", steps, "total_steps", m.schedule.TotalSteps, "id", id, "worker", m.names[id], "reason", reason)
	return &ledger.Stop{Steps: steps, Reason: reason, Worker: id, Name: m.names[id], Time: m.now.UTC()}
}

// finish ends the run when all its steps are committed and the workers agree on what came out. After a start that is known from the ledger, but
// the workers that are being started, too, have to find an orchestrator that tells them.
func (m *Machine) finish() bool {
	if m.state != Running || m.tip == nil || m.committed() != m.totalSteps() || !m.met {
		return false
	}
	m.state, m.finished = Finished, m.now
	m.note(slog.LevelInfo, "run is finished", "run", m.config.RunID, "steps", m.committed(), "params_hash", m.tip.String(), "seconds", m.now.Sub(m.started).Seconds(),
		"stopped", m.stopped(), "incidents", m.incidents)
	m.commit(&ledger.Finished{Steps: m.committed(), ParamsHash: *m.tip})
	m.writeRecord()
	return true
}

// notDeterministic is what to do where workers compute different bits and nobody can be told to be wrong.
const notDeterministic = "the script or an operation of the model is not deterministic, or a machine computes wrong; find out which with pangea doctor, or go on with --allow-nondeterminism"

// breaks ends the run where the promise of the same bits cannot be kept, unless people have given it up.
func (m *Machine) breaks(detail string) {
	if m.config.Strict {
		m.halt(detail)
	}
}

// halt ends the run for everybody, for a reason that a person has to look at.
func (m *Machine) halt(detail string) {
	if m.state != Running {
		return
	}
	m.halted = detail
	m.note(slog.LevelError, "the run is stopped", "run", m.config.RunID, "step", m.step.number, "reason", detail)
	m.restartStep()
	m.state, m.finished, m.saving.wanted, m.ending = Stopped, m.now, false, false
	m.writeRecord()
	for _, w := range slices.Clone(m.workers) {
		m.dismiss(w.id, protocol.Errorf(protocol.Stop, "%s", detail))
	}
}

// tooLong refuses a text that is longer than the schema allows.
func tooLong(name, text string, most int) *protocol.Error {
	if len(text) <= most {
		return nil
	}
	return protocol.Errorf(protocol.FixRequest, "%s has %d bytes; it may have %d", name, len(text), most)
}

// cut shortens a text to so many bytes.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return fmt.Sprintf("%s...", text[:most-3])
}
