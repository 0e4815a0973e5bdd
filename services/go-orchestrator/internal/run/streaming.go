package run

// A worker that waits for the sum which is being made is sent what there is of it, so that only its
// end has to wait for the commit. It applies nothing before that end, so it never holds parameters
// that the ledger does not account for.

// stream begins to send the sum to a waiting worker, if nothing but the sum keeps the step from
// being closed.
func (m *Machine) stream(w *worker) {
	s := &m.summing
	if s.aggregate == nil || !s.asked || w.streamed == s.generation || w.needsSnapshot || w.step != m.step.number ||
		m.mayNotClose() {
		return
	}
	w.streamed, s.streams = s.generation, true
	m.effects = append(m.effects, Stream{w.peer, w.request, *s.aggregate})
}

// mayNotClose reports whether anything can keep the open step from being closed when its sum is
// there.
func (m *Machine) mayNotClose() bool {
	s := &m.step
	if m.end.draining || m.state != Running || len(s.disputes) > 0 || !m.replaying() && m.agreement.headHash == nil {
		return true
	}
	for i := range s.shards {
		if s.shards[i].check {
			return true
		}
	}
	return false
}

// abandonStreams ends what was begun: the sum is dropped, or has to wait for more than the commit,
// and whoever receives it does not expect long pauses in it.
func (m *Machine) abandonStreams() {
	if m.summing.streams {
		m.summing.streams = false
		m.effects = append(m.effects, Abandon{})
	}
}
