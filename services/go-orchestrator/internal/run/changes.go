package run

import (
	"fmt"
	"log/slog"
	"strconv"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
)

// A run that is resumed may go on for longer than it was begun for. What else was asked for at its beginning stays.

// changeKept takes an earlier change of the ledger.
func (m *Machine) changeKept(r *ledger.Change) {
	switch r.What {
	case ledger.ChangedEpochs:
		m.goOn()
	case ledger.ChangedStop:
		m.end.stop = nil
		m.goOn()
	case ledger.ChangedTraining:
		m.identity.computation.training = r.To
	}
}

// readEpochs looks for how many the ledger ends with: it may hold steps of them.
func (m *Machine) readEpochs(records []ledger.Record) error {
	for i, record := range records {
		if r, is := record.(*ledger.Change); is && r.What == ledger.ChangedEpochs {
			epochs, err := strconv.ParseUint(r.To, 10, 32)
			if err != nil {
				return fmt.Errorf("record %d of the ledger changes the epochs to %q: %w", i, r.To, err)
			}
			m.identity.epochs = uint32(epochs)
		}
	}
	if epochs := m.config.Settings.Epochs; epochs < m.identity.epochs {
		return fmt.Errorf("the run directory holds a run with --epochs %d, but %d was requested; a run can be made longer, not shorter: use %d or more to continue it, or another --run-dir",
			m.identity.epochs, epochs, m.identity.epochs)
	}
	return nil
}

// changeNow takes what is asked for otherwise than the ledger has it: more epochs, and to go on after a script has ended the run.
func (m *Machine) changeNow() {
	if epochs := m.config.Settings.Epochs; epochs > m.identity.epochs {
		m.change(ledger.ChangedEpochs, fmt.Sprint(m.identity.epochs), fmt.Sprint(epochs))
		m.identity.epochs = epochs
		if m.end.stop == nil {
			m.goOn()
		}
	}
	if m.end.stop == nil || m.state != Finished {
		return
	}
	if !m.config.TakeChanges {
		m.note(slog.LevelInfo, "a script has ended the run; --take-changes lets it continue", "steps", m.end.stop.Steps, "reason", m.end.stop.Reason)
		return
	}
	m.change(ledger.ChangedStop, m.end.stop.Reason, "")
	m.end.stop = nil
	m.goOn()
}

func (m *Machine) change(what, from, to string) {
	m.note(slog.LevelInfo, "the run is resumed with a change", "what", what, "from", from, "to", to, "step", m.agreement.committed())
	m.commit(&ledger.Change{What: what, From: from, To: to, Step: m.agreement.committed(), Time: m.now.UTC()})
}

// goOn makes a finished run one that has steps left, if it has.
func (m *Machine) goOn() {
	if m.state == Finished && m.agreement.committed() < m.totalSteps() {
		m.state = Running
	}
}
