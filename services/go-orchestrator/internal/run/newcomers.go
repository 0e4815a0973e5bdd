package run

import (
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
)

// recordAfter is how long the record of a worker may wait for others.
const recordAfter = 250 * time.Millisecond

// newcomers are workers whose records are not in the ledger yet. Nobody has to wait for them: they
// are there before any record that names the worker, and a worker that a crash makes nobody
// remember joins again, under another number.
type newcomers struct {
	records []ledger.Record
	since   time.Time // of the first one
}

func (n *newcomers) add(record *ledger.Worker, now time.Time) {
	if len(n.records) == 0 {
		n.since = now
	}
	n.records = append(n.records, record)
}

// take returns the records, which are then to be committed.
func (n *newcomers) take() []ledger.Record {
	records := n.records
	n.records = nil
	return records
}

// recordNewcomers commits what has waited long enough for a record that needs it.
func (m *Machine) recordNewcomers() {
	if n := &m.roster.newcomers; len(n.records) > 0 && m.now.Sub(n.since) >= recordAfter {
		m.commit()
	}
}
