package run

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math"
	"slices"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/tree"
)

// closedStep is who sent what of a step that is closed.
type closedStep struct {
	number        uint64
	contributions []*tree.Contribution
}

// dispute is about shards of the open step for which two workers sent other bits. A third one computes them.
type dispute struct {
	first  *tree.Contribution // the one that is part of the sum
	other  uint32             // the worker that sent other bits
	result *tree.Contribution // with these
	third  uint32             // who computes them now; 0 is nobody
}

// chosen says whether a shard is to be computed by two workers: a pure function of seed, step and shard.
func (m *Machine) chosen(step uint64, number uint32) bool {
	if m.config.VerifyFraction <= 0 {
		return false
	}
	var key [24]byte
	binary.LittleEndian.PutUint64(key[0:], m.config.Settings.Seed)
	binary.LittleEndian.PutUint64(key[8:], step)
	binary.LittleEndian.PutUint64(key[16:], uint64(number))
	sum := sha256.Sum256(key[:])
	return float64(binary.LittleEndian.Uint64(sum[:8])) < m.config.VerifyFraction*math.MaxUint64
}

// separate gives those of the shards whose bits are compared one by one.
func (m *Machine) separate(shards []uint32) []uint32 {
	var chosen []uint32
	for _, number := range shards {
		if m.chosen(m.step.number, number) {
			chosen = append(chosen, number)
		}
	}
	return chosen
}

// computes gives the worker whose bits of a shard are, or will be, part of the sum.
func (m *Machine) computes(number uint32) uint32 {
	if c := m.step.tree.At(number); c != nil {
		return c.Worker
	}
	return m.step.shards[number].owner
}

// another says whether a worker could compute shards of the open step that is none of those named.
func (m *Machine) another(than ...uint32) bool {
	return slices.ContainsFunc(m.workers, func(w *worker) bool {
		return !w.lost && w.here() && m.reachable(w.step) && !slices.Contains(than, w.id)
	})
}

// inDoubt says whether a complete sum has to wait for a comparison that somebody can make.
func (m *Machine) inDoubt() bool {
	for _, d := range m.step.disputes {
		if m.another(d.first.Worker, d.other) {
			return true
		}
	}
	disputes := m.step.disputes
	m.step.disputes = nil
	for _, d := range disputes {
		m.incident(ledger.Conflict, d.first.Node.First, d.first.Node.Count, nobody,
			fmt.Sprintf("nobody is left to say which of workers %d and %d is wrong about %s of step %d; the first result, from worker %d, counts", d.first.Worker, d.other, d.first.Node, m.step.number, d.first.Worker))
	}
	if len(disputes) > 0 {
		d := disputes[0]
		m.breaks(fmt.Sprintf("workers %d and %d computed different bits for %s of step %d, and nobody is left to say which is wrong: %s", d.first.Worker, d.other, d.first.Node, m.step.number, notDeterministic))
		if m.state == Stopped {
			return true
		}
	}
	for number, s := range m.step.shards {
		if s.check && m.another(m.computes(uint32(number))) {
			return true
		}
	}
	return false
}

// thirdLease gives the shards of a dispute to a worker that has no part in it.
func (m *Machine) thirdLease(w *worker) []uint32 {
	for _, d := range m.step.disputes {
		if d.third != 0 || w.id == d.first.Worker || w.id == d.other {
			continue
		}
		d.third = w.id
		var shards []uint32
		for number := d.first.Node.First; number < d.first.Node.First+d.first.Node.Count; number++ {
			shards = append(shards, number)
		}
		return shards
	}
	return nil
}

// disputed gives the dispute about a contribution, or nil.
func (m *Machine) disputed(first *tree.Contribution) *dispute {
	for _, d := range m.step.disputes {
		if d.first == first {
			return d
		}
	}
	return nil
}

func (m *Machine) settled(d *dispute) {
	m.step.disputes = slices.DeleteFunc(m.step.disputes, func(other *dispute) bool { return other == d })
}

// differs looks whether an update of a closed step has other bits than the one that counted; it gives that one.
func (m *Machine) differs(u *protocol.Update) *tree.Contribution {
	for _, step := range m.recent {
		for _, c := range step.contributions {
			if step.number == u.Step && c.Node.First == u.FirstShard && c.Node.Count == u.ShardCount && u.Refusal == "" && !c.SameResult(result(u)) {
				return c
			}
		}
	}
	return nil
}

// result is what an update says of its shards.
func result(u *protocol.Update) *tree.Contribution {
	return &tree.Contribution{Digest: u.Digest, Reports: u.Reports}
}

// compared draws the conclusions from an update of shards that had come before.
func (m *Machine) compared(w *worker, node tree.Node, verdict protocol.Verdict, u *protocol.Update) {
	switch {
	case verdict == protocol.Conflict && u.Step < m.step.number:
		m.incident(ledger.Conflict, node.First, node.Count, w.id, fmt.Sprintf("%s of closed step %d came with other bits than those that count; nobody can tell any more who is wrong", node, u.Step))
	case verdict == protocol.Conflict:
		m.onConflict(w, node, u)
	case verdict == protocol.Duplicate:
		first := m.step.tree.At(node.First)
		if w.id != first.Worker {
			for number := node.First; number < node.First+node.Count; number++ {
				m.step.shards[number].check = false
			}
		}
		if d := m.disputed(first); d != nil && d.third == w.id {
			m.settled(d)
			m.quarantine(d.other, fmt.Sprintf("worker %d sent other bits for %s of step %d than workers %d and %d", d.other, node, u.Step, first.Worker, w.id))
		}
	}
}

func (m *Machine) onConflict(w *worker, node tree.Node, u *protocol.Update) {
	first := m.step.tree.At(node.First)
	for number := node.First; number < node.First+node.Count; number++ {
		m.step.shards[number].check = false
	}
	d := m.disputed(first)
	if d == nil {
		m.conflict(node, w.id, first.Worker, fmt.Sprintf("workers %d and %d sent other bits for %s of step %d", first.Worker, w.id, node, u.Step))
		if w.id != first.Worker {
			m.step.disputes = append(m.step.disputes, &dispute{first: first, other: w.id, result: result(u)})
		}
		return
	}
	if d.third != w.id {
		return
	}
	m.settled(d)
	if !d.result.SameResult(result(u)) {
		m.incident(ledger.Conflict, node.First, node.Count, w.id, fmt.Sprintf("three workers (%d, %d, %d) sent three results for %s of step %d; an operation of the model is not deterministic", first.Worker, d.other, w.id, node, u.Step))
		m.breaks(fmt.Sprintf("three workers (%d, %d, %d) computed three results for %s of step %d: %s", first.Worker, d.other, w.id, node, u.Step, notDeterministic))
		return
	}
	m.restartStep()
	m.quarantine(first.Worker, fmt.Sprintf("worker %d sent other bits for %s of step %d than workers %d and %d; the step is computed again without it", first.Worker, node, u.Step, d.other, w.id))
}

// quarantine keeps a worker out of the run for good, also one that has gone: it may come back under its name.
func (m *Machine) quarantine(id uint32, detail string) {
	m.throwOut(id)
	name := m.names[id]
	m.quarantined[name] = detail
	m.incident(ledger.Quarantine, 0, 0, id, detail)
	m.dismiss(id, m.inQuarantine(name))
}

// throwOut drops the open step's sums if a worker that is wrong has a part in them.
func (m *Machine) throwOut(id uint32) {
	if slices.ContainsFunc(m.step.tree.Contributions(), func(c *tree.Contribution) bool { return c.Worker == id }) {
		m.restartStep()
	}
}

func (m *Machine) inQuarantine(name string) *protocol.Error {
	return protocol.Errorf(protocol.Stop, "worker %s is in quarantine for the rest of the run: %s; its machine may be faulty (memory, processor), its arithmetic another (torch build, kind of processor), or the script not deterministic: pangea doctor tells which", name, m.quarantined[name])
}

// dismiss ends a worker's part in the run, if it still has one. It learns why now if it waits for an answer, else with its next request.
func (m *Machine) dismiss(id uint32, why *protocol.Error) {
	at := slices.IndexFunc(m.workers, func(w *worker) bool { return w.id == id })
	if at < 0 {
		return
	}
	w := m.workers[at]
	if w.waiting {
		m.refuse(w.peer, w.request, protocol.KindWorkRequest, why)
	} else {
		m.barred[w.peer] = why
	}
	m.remove(w)
}

// nobody is the worker of an incident that is no single worker's.
const nobody = 0

// incident writes down what ought not to happen, and by which worker.
func (m *Machine) incident(kind string, first, count, id uint32, detail string) {
	m.writeIncident(&ledger.Incident{Kind: kind, First: first, Count: count, Worker: id, Detail: detail})
}

// conflict is the incident of two results that a third one may settle: the ledger names both workers, so that a reader can tell whether one of
// them was proven wrong later.
func (m *Machine) conflict(node tree.Node, id, other uint32, detail string) {
	m.writeIncident(&ledger.Incident{Kind: ledger.Conflict, First: node.First, Count: node.Count, Worker: id, Other: other, Detail: detail})
}

func (m *Machine) writeIncident(incident *ledger.Incident) {
	incident.Step, incident.Name, incident.Time = m.step.number, m.names[incident.Worker], m.now.UTC()
	m.note(slog.LevelError, incident.Kind, "step", incident.Step, "id", incident.Worker, "worker", incident.Name, "detail", incident.Detail)
	m.incidents++
	m.commit(incident)
}
