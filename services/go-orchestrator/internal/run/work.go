package run

import (
	"log/slog"

	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

func (m *Machine) onWork(e WorkAsked) {
	const kind = protocol.KindWorkRequest
	w := m.find(e.Peer)
	switch {
	case m.state == Stopped:
		m.refuse(e.Peer, e.Request, kind, m.stopping(kind))
		return
	case w == nil:
		m.refuse(e.Peer, e.Request, kind, protocol.Errorf(protocol.FixRequest, "this connection has not joined the run; send a JoinRequest first"))
		return
	case w.waiting:
		m.refuse(e.Peer, e.Request, kind, protocol.Errorf(protocol.FixRequest, "worker %d asks for work twice; wait for the answer to request %d", w.id, w.request))
		return
	case e.Work.Step > m.step.number:
		m.refuse(e.Peer, e.Request, kind, protocol.Errorf(protocol.FixRequest, "worker %d (%s) says that it holds step %d, but step %d is still open",
			w.id, w.name, e.Work.Step, m.step.number))
		return
	}
	if m.donor == w {
		m.note(slog.LevelError, "worker was asked for its state and asks for work instead", "id", w.id, "worker", w.name)
		m.donor, w.unfit = nil, true
	}
	m.timings.add(w.id, e.Work.Timings)
	w.step, w.hash = e.Work.Step, e.Work.ParametersHash
	if w.lost && w.served && m.reachable(w.step) {
		w.lost, w.served = false, false
	}
	if !w.lost && !m.agree(w) {
		reference := m.references[w.step]
		m.note(slog.LevelError, "worker's parameters differ from those of the run", "id", w.id, "worker", w.name, "pid", w.pid,
			"step", w.step, "hash", w.hash.String(), "run_hash", reference.String())
		m.refuse(e.Peer, e.Request, kind, protocol.Errorf(protocol.Resync, "the parameters of worker %d (%s) after %d steps have hash %s, those of the run %s; drop them and join again",
			w.id, w.name, w.step, w.hash.Short(), reference.Short()))
		m.remove(w)
		return
	}
	w.waiting, w.request = true, e.Request
}

// agree compares a worker's parameters with those that the first worker reported after as many steps. The first report of the open step
// completes the step before it.
func (m *Machine) agree(w *worker) bool {
	if reference, known := m.references[w.step]; known {
		return reference == w.hash
	}
	if w.step != m.step.number {
		return true // too long ago to tell; it needs a snapshot
	}
	m.references[w.step] = w.hash
	m.agreed.steps, m.agreed.hash = w.step, w.hash
	if line := m.closed; line != nil {
		m.closed = nil
		line.ParamsHash = w.hash.String()
		line.AggregateHash = m.kept(line.Step).Hash().String()
		line.DataSeconds, line.ComputeSeconds, line.ExchangeSeconds = m.timings.means()
		m.agreed.loss = line.Loss
		m.effects = append(m.effects, WriteMetrics{*line})
	}
	if w.step == m.schedule.TotalSteps {
		m.state = Finished
		m.finished = m.now
		m.note(slog.LevelInfo, "run is finished", "run", m.config.RunID, "steps", w.step, "params_hash", w.hash.String(), "seconds", m.now.Sub(m.started).Seconds())
		m.writeRecord()
	}
	return true
}

// lease gives a worker that holds the open step its shards: its share of them, or free ones. Nil when there are none.
func (m *Machine) lease(w *worker) protocol.Reply {
	m.divide()
	shards := m.unfinished(w.id)
	if len(shards) == 0 {
		free := m.unfinished(0)
		// Workers that wait beside this one get their part of what became free.
		idle := 0
		for _, other := range m.workers {
			if other.waiting && !other.lost && other.step == m.step.number && len(m.unfinished(other.id)) == 0 {
				idle++
			}
		}
		shards = free[:(len(free)+idle-1)/idle]
		for _, shard := range shards {
			m.step.owners[shard] = w.id
		}
	}
	if len(shards) == 0 {
		return nil
	}
	epoch, epochStep := m.schedule.Locate(m.step.number)
	return protocol.Lease{Step: m.step.number, Epoch: epoch, EpochStep: epochStep, Shards: shards}
}

// divide gives the shards of a new step to the workers that are there, contiguous and even, ascending by worker id.
func (m *Machine) divide() {
	if m.step.divided {
		return
	}
	m.step.divided = true
	if m.step.opened.IsZero() {
		m.step.opened = m.now
	}
	var present []*worker
	for _, w := range m.workers {
		if !w.lost {
			present = append(present, w)
		}
	}
	m.step.present = len(present)
	shards := len(m.step.owners)
	for i, w := range present {
		for shard := shards * i / len(present); shard < shards*(i+1)/len(present); shard++ {
			m.step.owners[shard] = w.id
		}
	}
}

// unfinished gives the shards of an owner that have not come.
func (m *Machine) unfinished(owner uint32) []uint32 {
	var shards []uint32
	for shard, of := range m.step.owners {
		if of == owner && !m.step.tree.Has(uint32(shard)) {
			shards = append(shards, uint32(shard))
		}
	}
	return shards
}
