package run

import (
	"fmt"
	"log/slog"
	"strconv"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
)

// A run may be resumed with more epochs, after a script has ended it, or with a different training.
// Its other settings never change.

// applyChange repeats a change that the ledger holds.
func (m *Machine) applyChange(r *ledger.Change) {
	switch r.What {
	case ledger.ChangedEpochs:
		m.reopenFinished()
	case ledger.ChangedStop:
		m.end.stop = nil
		m.reopenFinished()
	case ledger.ChangedTraining:
		m.identity.computation.training = r.To
	}
}

// readEpochs finds how many epochs the run has at the end of the ledger. It comes before the steps
// are read: these may belong to epochs that a later record added.
func (m *Machine) readEpochs(records ledger.Records) error {
	err := records.Each(func(record ledger.Record) error {
		if r, is := record.(*ledger.Change); is && r.What == ledger.ChangedEpochs {
			epochs, err := strconv.ParseUint(r.To, 10, 32)
			if err != nil {
				return fmt.Errorf("a record of the ledger changes the epochs to %.100q: %w", r.To, err)
			}
			m.identity.epochs = uint32(epochs)
		}
		return nil
	}, ledger.ChangeKind)
	if err != nil {
		return err
	}
	if epochs := m.config.Settings.Epochs; epochs < m.identity.epochs {
		return fmt.Errorf("the run directory holds a run with --epochs %d, but %d was requested; "+
			"a run can be made longer, not shorter: use %d or more to continue it, or another --run-dir",
			m.identity.epochs, epochs, m.identity.epochs)
	}
	return nil
}

// takeChanges records what was requested differently from the ledger: more epochs, and to continue
// after a script has ended the run.
func (m *Machine) takeChanges() {
	if epochs := m.config.Settings.Epochs; epochs > m.identity.epochs {
		m.change(ledger.ChangedEpochs, fmt.Sprint(m.identity.epochs), fmt.Sprint(epochs))
		m.identity.epochs = epochs
		if m.end.stop == nil {
			m.reopenFinished()
		}
	}
	if m.end.stop == nil || m.state != Finished {
		return
	}
	if !m.config.TakeChanges {
		m.note(slog.LevelInfo, "a script has ended the run; --take-changes lets it continue", "steps", m.end.stop.Steps,
			"reason", m.end.stop.Reason)
		return
	}
	m.change(ledger.ChangedStop, m.end.stop.Reason, "")
	m.end.stop = nil
	m.reopenFinished()
}

func (m *Machine) change(what, from, to string) {
	m.note(slog.LevelInfo, "the run is resumed with a change", "what", what, "from", from, "to", to,
		"step", m.agreement.committed())
	m.commit(&ledger.Change{What: what, From: from, To: to, Step: m.agreement.committed(), Time: m.now.UTC()})
}

// reopenFinished makes a finished run a running one, if it has steps left.
func (m *Machine) reopenFinished() {
	if m.state == Finished && m.agreement.committed() < m.totalSteps() {
		m.state = Running
	}
}
