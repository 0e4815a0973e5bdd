package run

import (
	"fmt"
	"log/slog"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
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
		shards: make([]shard, m.config.Settings.Shards),
		tree:   tree.New(m.config.Settings.Shards),
	}
	for i := range m.step.shards {
		m.step.shards[i].check = m.chosen(number, uint32(i))
	}
}

// restartStep drops what has come of the open step.
func (m *Machine) restartStep() {
	again := m.step.again
	m.step.tree.Discard()
	m.openStep(m.step.number)
	m.step.again = again
}

// closeStep ends the open step when its sum is complete and nothing about it is in doubt, and opens the next one.
func (m *Machine) closeStep() bool {
	if m.ending || m.state == Stopped || !m.step.tree.Complete() || m.inDoubt() || !m.replaying() && m.tip == nil {
		return false
	}
	number, contributions, reports := m.step.number, m.step.tree.Contributions(), m.step.tree.Reports()
	samples := m.schedule.StepSamples(number)
	aggregate := protocol.NewAggregate(number, samples, tree.Losses(reports), tree.Divisor(reports), m.step.tree.Root())
	if m.replaying() {
		if aggregate.Hash() != m.history[number].aggregate {
			m.replayDiffers(aggregate)
			return true
		}
		m.recomputed++
	} else {
		m.warnOfOverflow(number, aggregate.Gradients)
		m.commitStep(aggregate, contributions)
	}
	m.aggregates = append(m.aggregates, aggregate)
	m.recent = append(m.recent, closedStep{number, contributions})
	m.recent = m.recent[max(0, len(m.recent)-keepAtLeast):]
	m.rate.add(m.now, samples)
	m.effects = append(m.effects, Closed{aggregate})
	m.openStep(number + 1)
	m.wantCheckpoint()
	m.prune()
	return true
}

// commitStep writes the step down, before anyone is given its sum.
func (m *Machine) commitStep(aggregate *protocol.Aggregate, contributions []*tree.Contribution) {
	number := aggregate.Step
	epoch, epochStep := m.schedule.Locate(number)
	before, _ := m.reference(number)
	divisor := ledger.Float(aggregate.Divisor)
	record := &ledger.Step{
		Step: number, Epoch: epoch, EpochStep: epochStep, Samples: aggregate.Samples, LossSum: ledger.Float(aggregate.LossSum), Divisor: &divisor, AggregateHash: aggregate.Hash(),
		ParamsHash: before, Seconds: ledger.Float(m.now.Sub(m.step.opened).Seconds()), Workers: m.step.present, Time: m.now.UTC(),
	}
	for _, c := range contributions {
		entry := ledger.Contribution{First: c.Node.First, Count: c.Node.Count, Worker: c.Worker}
		for _, report := range c.Reports {
			from, to := m.schedule.ShardRange(number, report.Shard)
			weight := ledger.Float(report.Weight)
			entry.Shards = append(entry.Shards, ledger.Shard{Shard: report.Shard, From: from, To: to, LossSum: ledger.Float(report.LossSum), Weight: &weight,
				Summed: report.Summed && from < to, BatchHash: report.BatchHash})
		}
		record.Contributions = append(record.Contributions, entry)
	}
	if stop := m.stopIn(contributions); stop != nil {
		// Before the step: if a crash leaves only this, the step is computed and ends the run all the same.
		m.stop = stop
		m.commit(stop, record)
	} else {
		m.commit(record)
	}
	m.history = append(m.history, committedStep{record.AggregateHash, before})
	m.tip, m.claims, m.doubted = nil, nil, nil
	m.closed = &MetricsLine{
		Step: number, Epoch: epoch, Loss: Number(aggregate.LossSum / aggregate.Divisor), Samples: aggregate.Samples,
		Seconds: Number(record.Seconds), Workers: m.step.present, AggregateHash: record.AggregateHash.String(),
	}
}

// replayDiffers says that a step which is in the ledger came out otherwise when it was computed again. It may have been the fault of one
// worker once, so it is tried a second time; then the run cannot be trusted to the bit and stops.
func (m *Machine) replayDiffers(aggregate *protocol.Aggregate) {
	want, got := m.history[aggregate.Step].aggregate, aggregate.Hash()
	aggregate.Gradients.Release()
	m.step.again++
	detail := fmt.Sprintf("step %d was computed again and has the sum %s, where the ledger has %s; is this the same torch build and kind of processor, and are all operations deterministic?",
		aggregate.Step, got.Short(), want.Short())
	m.incident(ledger.Replay, 0, 0, nobody, detail)
	if m.step.again < 2 {
		m.restartStep()
		return
	}
	m.halt(detail)
}

// prune forgets what no worker will be given again.
func (m *Machine) prune() {
	keep := int(min(keepAtMost, max(keepAtLeast, m.config.KeepBytes/m.layout.Bytes())))
	for len(m.aggregates) > keep {
		m.dropOldest()
	}
	if m.snapshot != nil && m.snapshot.Step+keepAtLeast < m.step.number {
		m.dropSnapshot()
	}
}

func (m *Machine) dropOldest() {
	oldest := m.aggregates[0]
	m.aggregates = m.aggregates[1:]
	oldest.Gradients.Release()
	m.effects = append(m.effects, Dropped{oldest.Step})
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
