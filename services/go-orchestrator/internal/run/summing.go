package run

import (
	"fmt"

	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/tree"
)

// mostHeld is how many vectors may wait for the open step to be complete. When there are more,
// complete parts of its tree are added up early: so hardly more than half of the shards are ever
// held, and with a few workers everything is read once.
const mostHeld = 8

// summing is how far the sum of the open step has got. The machine judges contributions by what is
// said of them and never touches gradients: whoever carries out its effects adds, with all cores,
// while other events are handled. One sum at a time is asked for.
type summing struct {
	generation uint64       // of the open step's sums: one that was asked for earlier is dropped
	asked      bool         // a Sum of this generation has not been answered
	whole      *tree.Result // the sum over all shards, once it is there
	// What will be sent with it, once it has been asked for; without gradients and hash.
	aggregate *protocol.Aggregate
	streams   bool // workers are being sent it
}

// beginSums forgets a step's sum: what is still being added for it is no longer wanted.
func (m *Machine) beginSums() {
	m.abandonStreams()
	m.summing = summing{generation: m.summing.generation + 1}
}

// startSum asks for what can be added up now. The sum over all shards does not wait until nothing
// about the step is in doubt: most often that turns out well.
func (m *Machine) startSum() {
	s, t := &m.summing, m.step.tree
	if s.asked || s.whole != nil || m.end.draining || m.state == Stopped {
		return
	}
	var sum *tree.Sum
	switch {
	case t.Complete():
		sum = t.Root()
		s.aggregate = m.aggregate()
	case t.Held() > mostHeld:
		sum = t.Part()
	}
	if sum != nil {
		s.asked, sum.Method = true, m.config.Settings.ContentHash
		m.effects = append(m.effects, Sum{s.generation, sum.Retain()})
	}
}

// aggregate is what is known of the sum over all shards before it is made.
func (m *Machine) aggregate() *protocol.Aggregate {
	reports := m.step.tree.Reports()
	return &protocol.Aggregate{Step: m.step.number, Samples: m.identity.schedule.StepSamples(m.step.number),
		LossSum: tree.Losses(reports), Divisor: tree.Divisor(reports)}
}

func (m *Machine) onSummed(e Summed) {
	s := &m.summing
	switch {
	case e.Generation != s.generation:
		e.Sum.Release()
	case len(e.Wrong) > 0:
		e.Sum.Release()
		s.asked = false
		m.onWrong(e.Wrong)
	case e.Node.Count == m.config.Settings.Shards:
		s.asked, s.whole = false, &e.Result
	default:
		s.asked = false
		m.step.tree.Replace(e.Node, e.Sum)
	}
}

// takeSum hands over the sum over all shards; its operands are no longer needed.
func (m *Machine) takeSum() *tree.Result {
	whole := m.summing.whole
	m.summing.whole = nil
	m.step.tree.Discard()
	return whole
}

// discardSum releases everything that has arrived for the open step.
func (m *Machine) discardSum() {
	if whole := m.takeSum(); whole != nil {
		whole.Sum.Release()
	}
}

// onWrong handles contributions that were accepted by what their workers said of them, and whose
// memory turned out to hold something else: the step is begun again without them.
func (m *Machine) onWrong(all []tree.Wrong) {
	number := m.step.number
	for _, wrong := range all {
		c := wrong.Contribution
		if wrong.Rewritten {
			m.conflict(c.Node, c.Worker, c.Worker, fmt.Sprintf(
				"worker %d changed the memory of %s of step %d after it had submitted them", c.Worker, c.Node, number))
			continue
		}
		name, position := m.identity.layout.At(wrong.NotFinite)
		detail := fmt.Sprintf("worker %d (%s): %s of step %d: the gradient of tensor %s has %v at element %d", c.Worker,
			m.roster.names[c.Worker], c.Node, number, name, wrong.Value, position)
		if m.onNotFinite(c.Worker, c.Node, detail); m.state == Stopped {
			return
		}
		m.dismiss(c.Worker, protocol.Errorf(protocol.Stop, "%s; the result is refused, and these shards are given to "+
			"another worker", detail))
	}
	m.restartStep()
}
