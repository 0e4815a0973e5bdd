package run

import (
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// onWork notes what a worker holds and lets it wait; settle answers it.
func (m *Machine) onWork(e WorkRequested) {
	const kind = protocol.KindWorkRequest
	w := m.roster.find(e.Peer)
	switch {
	case m.state == Stopped:
		m.refuse(e.Peer, e.Request, kind, m.stopping(kind))
		return
	case w == nil:
		m.refuse(e.Peer, e.Request, kind, m.notJoined(e.Peer))
		return
	case w.waiting:
		m.refuse(e.Peer, e.Request, kind, protocol.Errorf(protocol.FixRequest,
			"worker %d asks for work twice; wait for the answer to request %d", w.id, w.request))
		return
	case e.Work.Step > m.agreement.committed():
		m.refuse(e.Peer, e.Request, kind, protocol.Errorf(protocol.FixRequest,
			"worker %d (%s) says that it holds step %d, but only %d are closed",
			w.id, w.name, e.Work.Step, m.agreement.committed()))
		return
	}
	m.step.releaseAll(w.id)
	m.step.requestTimes.add(m.now.Sub(w.answered), 1)
	m.figures.timings.add(w.id, e.Work.Timings)
	w.step, w.hash, w.figures = e.Work.Step, e.Work.ParametersHash, e.Work.Figures
	w.verified = m.agreement.verify(w)
	if w.needsSnapshot && w.snapshotSent && w.verified && m.reachable(w.step) {
		w.needsSnapshot, w.snapshotSent = false, false
		m.retention.provenState(w.sentState)
	}
	w.waiting, w.request = true, e.Request
	switch {
	case !w.needsSnapshot && !w.verified:
		m.diverge(w.id, w.step, w.hash)
	case e.Work.Stop != "" && w.verified:
		m.onStopByScript(w, e.Work.Stop)
	}
}

// lease gives a worker that holds the open step its shards: its share of them, or else free ones,
// or else some that others compute, too. Nil when there are none: the worker waits.
func (m *Machine) lease(w *worker) protocol.Reply {
	s := &m.step
	if !s.divided {
		s.divide(m.present(), m.now)
	}
	shards := s.unfinished(w.id)
	if len(shards) == 0 {
		// Free shards are divided between this worker and the others that wait.
		free, idle := s.unfinished(nobody), 0
		for _, other := range m.roster.workers {
			if other.waiting && !other.needsSnapshot && other.step == s.number && len(s.unfinished(other.id)) == 0 {
				idle++
			}
		}
		shards = free[:(len(free)+idle-1)/idle]
	}
	for _, number := range shards {
		s.shards[number].owner = w.id
	}
	if len(shards) == 0 {
		shards = m.secondLease(w)
	}
	if len(shards) == 0 {
		return nil
	}
	s.hold(w.id, shards, m.now)
	epoch, epochStep := m.identity.schedule.Locate(s.number)
	return protocol.Lease{Step: s.number, Epoch: epoch, EpochStep: epochStep, Shards: shards, Separate: s.separate(shards)}
}

// present returns the workers that a new step's shards are divided between.
func (m *Machine) present() []*worker {
	var present []*worker
	for _, w := range m.roster.workers {
		if !w.needsSnapshot && w.responsive() {
			present = append(present, w)
		}
	}
	return present
}

// canReach reports whether a worker takes part in the open step, now or when it has applied the
// aggregates that are kept.
func (m *Machine) canReach(w *worker) bool {
	return !w.needsSnapshot && w.responsive() && m.reachable(w.step)
}

// openStepInSight reports whether a worker is there that holds the open step, or will when it has
// applied the aggregates that are kept.
func (m *Machine) openStepInSight() bool { return m.roster.any(m.canReach) }
