package simulation

import (
	"math/rand/v2"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/run"
)

// lateness of sums: a process adds up beside its event loop, so that anything may happen between
// the wish for a sum and the sum, also that the step is begun again. The dice are its own, so that
// a history in which no sum is late is what it was when sums were made in the loop.
type lateness struct {
	dice  *rand.Rand
	often float64 // chance of a sum to be late
}

func newLateness(seed uint64) lateness {
	dice := rand.New(rand.NewPCG(seed, 2))
	return lateness{dice, []float64{0, 0.1, 0.5, 1}[dice.IntN(4)]}
}

// next returns how late the next sum is.
func (l lateness) next() time.Duration {
	if l.dice.Float64() >= l.often {
		return 0
	}
	longest := 20 * time.Millisecond
	if l.dice.IntN(4) == 0 {
		longest = 2 * time.Second // a large model on a busy machine
	}
	return time.Duration(1 + l.dice.Int64N(int64(longest)))
}

// sum answers the machine's wish for a sum, at once or later.
func (o *orchestrator) sum(e run.Sum) {
	w := o.world
	answer := run.Summed{Generation: e.Generation, Result: o.adder.Add(e.Sum)}
	e.Sum.Release()
	late := w.late.next()
	if late == 0 {
		o.sums = append(o.sums, answer)
		return
	}
	w.fault("sum is late")
	w.clock.after(late, func() {
		if !o.dead {
			o.handle(answer)
			if answer.Sum.Blocks() == nil {
				w.fault("sum is no longer wanted")
			}
		}
	})
}

// stream begins to send a sum before its commit. The worker applies nothing before the Send that
// ends it, so there is nothing to be delivered; what can go wrong is in which order they come.
func (o *orchestrator) stream(e run.Stream) {
	c := o.peers[e.Peer]
	if c == nil {
		return
	}
	if committed := o.machine.Status().Committed; c.streaming || e.Aggregate.Step > committed {
		o.world.violate("%s is sent the sum of step %d while %d are committed, or while it is sent another", c.worker.name,
			e.Aggregate.Step, committed)
	}
	c.streaming = true
}

// abandon ends all streams without their sums.
func (o *orchestrator) abandon() {
	for _, id := range sorted(o.peers) {
		if c := o.peers[id]; c.streaming {
			c.streaming = false
			o.world.note("the sum that is sent to %s is abandoned", c.worker.name)
		}
	}
}
