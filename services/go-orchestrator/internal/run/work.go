package run

import (
	"log/slog"
	"strings"

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
		m.refuse(e.Peer, e.Request, kind, m.notJoined(e.Peer))
		return
	case w.waiting:
		m.refuse(e.Peer, e.Request, kind, protocol.Errorf(protocol.FixRequest, "worker %d asks for work twice; wait for the answer to request %d", w.id, w.request))
		return
	case e.Work.Step > m.committed():
		m.refuse(e.Peer, e.Request, kind, protocol.Errorf(protocol.FixRequest, "worker %d (%s) says that it holds step %d, but only %d are closed",
			w.id, w.name, e.Work.Step, m.committed()))
		return
	}
	if err := tooLong("stop", e.Work.Stop, protocol.MaxStop); err != nil {
		m.refuse(e.Peer, e.Request, kind, err)
		return
	}
	if m.donor == w {
		m.note(slog.LevelError, "worker was asked for its state and asks for work instead", "id", w.id, "worker", w.name)
		m.donor, w.unfit = nil, true
	}
	m.letGoAll(w.id)
	m.asking.add(m.now.Sub(w.answered), 1)
	m.timings.add(w.id, e.Work.Timings)
	w.step, w.hash = e.Work.Step, e.Work.ParametersHash
	w.sound = m.agree(w)
	if w.lost && w.served && w.sound && m.reachable(w.step) {
		w.lost, w.served = false, false
	}
	w.waiting, w.request = true, e.Request
	switch {
	case !w.lost && !w.sound:
		m.diverge(w.id, w.step, w.hash)
	case e.Work.Stop != "" && w.sound:
		m.stopAsked(w, strings.ToValidUTF8(e.Work.Stop, "?"))
	}
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
	}
	for _, number := range shards {
		m.step.shards[number].owner = w.id
	}
	if len(shards) == 0 {
		shards = m.furtherLease(w)
	}
	if len(shards) == 0 {
		return nil
	}
	for _, number := range shards {
		m.step.shards[number].hold(w.id, m.now, len(shards))
	}
	epoch, epochStep := m.schedule.Locate(m.step.number)
	return protocol.Lease{Step: m.step.number, Epoch: epoch, EpochStep: epochStep, Shards: shards, Separate: m.separate(shards)}
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
		if !w.lost && w.here() {
			present = append(present, w)
		}
	}
	m.step.present = len(present)
	shards := len(m.step.shards)
	for i, w := range present {
		for shard := shards * i / len(present); shard < shards*(i+1)/len(present); shard++ {
			m.step.shards[shard].owner = w.id
		}
	}
}

// unfinished gives the shards of an owner that have not come.
func (m *Machine) unfinished(owner uint32) []uint32 {
	var shards []uint32
	for shard, s := range m.step.shards {
		if s.owner == owner && !m.step.tree.Has(uint32(shard)) {
			shards = append(shards, uint32(shard))
		}
	}
	return shards
}
