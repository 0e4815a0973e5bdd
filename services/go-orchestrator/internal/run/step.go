package run

import (
	"log/slog"

	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/tree"
	"pangea.example/pangea/services/go-orchestrator/internal/vector"
)

// Aggregates that are kept for workers that lag behind: these steps always, more while there is memory (Config.KeepBytes), so that a worker
// that loads a snapshot while short steps go by can catch up.
const (
	keepAtLeast = 2
	keepAtMost  = 4_096
)

func (m *Machine) openStep(number uint64) {
	m.step = step{
		number: number,
		opened: m.now,
		owners: make([]uint32, m.config.Settings.Shards),
		tree:   tree.New(m.config.Settings.Shards),
	}
}

// closeStep ends the open step when its sum is complete, and opens the next one.
func (m *Machine) closeStep() {
	root := m.step.tree.Root()
	if root == nil {
		return
	}
	number, reports := m.step.number, m.step.tree.Reports()
	samples := m.schedule.StepSamples(number)
	loss := tree.Losses(reports)
	m.warnOfOverflow(number, root)
	aggregate := protocol.NewAggregate(number, samples, loss, root)
	m.aggregates = append(m.aggregates, aggregate)
	epoch, _ := m.schedule.Locate(number)
	m.closed = &MetricsLine{
		Step: number, Epoch: epoch, Loss: Number(loss / float64(samples)), Samples: samples,
		Seconds: Number(m.now.Sub(m.step.opened).Seconds()), Workers: m.step.present,
	}
	m.rate.add(m.now, samples)
	m.effects = append(m.effects, Closed{aggregate})
	m.openStep(number + 1)
	m.prune()
}

// prune forgets what no worker will be given again.
func (m *Machine) prune() {
	keep := int(min(keepAtMost, max(keepAtLeast, m.config.KeepBytes/m.layout.Bytes())))
	for len(m.aggregates) > keep {
		oldest := m.aggregates[0]
		m.aggregates = m.aggregates[1:]
		delete(m.references, oldest.Step)
		oldest.Gradients.Release()
		m.effects = append(m.effects, Dropped{oldest.Step})
	}
	if m.snapshot != nil && m.snapshot.Step+keepAtLeast < m.step.number {
		m.dropSnapshot()
	}
}

// warnOfOverflow tells people when finite gradients add up to what is none: the workers' parameters will not survive it.
func (m *Machine) warnOfOverflow(number uint64, sum *vector.Vector) {
	first := 0
	for _, block := range sum.Blocks() {
		if at := vector.NotFinite(block); at >= 0 {
			name, position := m.layout.At(first + at)
			m.note(slog.LevelError, "the gradient sum overflows", "step", number, "tensor", name, "element", position, "value", block[at])
			return
		}
		first += len(block)
	}
}
