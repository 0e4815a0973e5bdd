package run

import (
	"log/slog"
	"slices"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/tree"
)

// nobody is the worker of an incident that cannot be put down to a single one, and the owner of a
// shard that has none.
const nobody = 0

// notDeterministic says what to do where workers compute different bits and none of them can be
// proven wrong.
const notDeterministic = "the script or an operation of the model is not deterministic, " +
	"or a machine computes wrong results; find out which with pangea doctor, or continue with --allow-nondeterminism"

// incident records what ought not to happen, and by which worker.
func (m *Machine) incident(kind string, first, count, id uint32, detail string) {
	m.writeIncident(&ledger.Incident{Kind: kind, First: first, Count: count, Worker: id, Detail: detail})
}

// conflict is the incident of two results that a third one may settle: the ledger names both
// workers, so that a reader can see whether one of them was proven wrong later.
func (m *Machine) conflict(node tree.Node, id, other uint32, detail string) {
	m.writeIncident(&ledger.Incident{Kind: ledger.Conflict, First: node.First, Count: node.Count, Worker: id, Other: other,
		Detail: detail})
}

func (m *Machine) writeIncident(incident *ledger.Incident) {
	incident.Step, incident.Name, incident.Time = m.step.number, m.roster.names[incident.Worker], m.now.UTC()
	m.note(slog.LevelError, incident.Kind, "step", incident.Step, "id", incident.Worker, "worker", incident.Name,
		"detail", incident.Detail)
	m.figures.incidents++
	m.commit(incident)
}

// quarantine keeps a worker out of the run for good, even if it has left: it could return under its
// name.
func (m *Machine) quarantine(id uint32, detail string) {
	m.discardSums(id)
	name := m.roster.names[id]
	m.roster.quarantined[name] = detail
	m.incident(ledger.Quarantine, 0, 0, id, detail)
	m.dismiss(id, m.inQuarantine(name))
}

func (m *Machine) inQuarantine(name string) *protocol.Error {
	return protocol.Errorf(protocol.Stop, "worker %s is quarantined for the rest of the run: %s; "+
		"its machine may be faulty (memory, processor), its arithmetic may differ (torch build, kind of processor), "+
		"or the script may not be deterministic: pangea doctor tells which", name, m.roster.quarantined[name])
}

// discardSums starts the open step again if a worker that is wrong has a part in its sum: a sum of
// float32 cannot be taken out again.
func (m *Machine) discardSums(id uint32) {
	if slices.ContainsFunc(m.step.tree.Contributions(), func(c *tree.Contribution) bool { return c.Worker == id }) {
		m.restartStep()
	}
}

// dismiss ends a worker's part in the run, if it still has one. If it waits for an answer, it
// learns why now, otherwise with its next request.
func (m *Machine) dismiss(id uint32, why *protocol.Error) {
	w := m.roster.byID(id)
	if w == nil {
		return
	}
	if w.waiting {
		m.refuse(w.peer, w.request, protocol.KindWorkRequest, why)
	} else {
		m.roster.rejectedPeers[w.peer] = why
	}
	m.remove(w)
}

// breakPromise ends the run where the promise of the same bits cannot be kept, unless people have
// given it up.
func (m *Machine) breakPromise(detail string) {
	if m.config.Strict {
		m.halt(detail)
	}
}

// complaint is what a worker is to be blamed for once.
type complaint struct {
	step uint64
	name string
}

// maxComplaints are remembered. They are few in any run: results are compared for the last steps
// only.
const maxComplaints = 4096

// repeats reports whether a worker has contradicted the sum of a step before: a ledger must not
// grow as fast as it can send the same again.
func (r *roster) repeats(w *worker, step uint64) bool {
	if r.complaints == nil || len(r.complaints) >= maxComplaints {
		r.complaints = map[complaint]struct{}{}
	}
	about := complaint{step, w.name}
	_, before := r.complaints[about]
	r.complaints[about] = struct{}{}
	return before
}
