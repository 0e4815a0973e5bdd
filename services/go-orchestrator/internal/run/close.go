package run

import (
	"fmt"
	"log/slog"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/tree"
)

// closeStep ends the open step when its sum is complete and nothing about it is in doubt, and opens
// the next one. A step is committed before anybody is given the end of its sum: nobody may ever
// hold parameters that the ledger cannot account for. One that is already in the ledger is
// recomputed only for its sum, which must come out with the hash that is there.
func (m *Machine) closeStep() bool {
	if m.end.draining || m.state == Stopped || !m.step.tree.Complete() || m.inDoubt() ||
		!m.replaying() && m.agreement.headHash == nil || m.firstStateInFlight() || m.summing.whole == nil {
		return false
	}
	number, contributions, aggregate := m.step.number, m.step.tree.Contributions(), m.summing.aggregate
	sum := m.takeSum()
	aggregate.Gradients, aggregate.Hash = sum.Sum, sum.Hash
	if m.replaying() {
		if aggregate.Hash != m.agreement.history[number].aggregate {
			m.onReplayDiffers(aggregate)
			return true
		}
		m.figures.recomputed++
	} else {
		m.warnOfOverflow(number, sum)
		m.commitStep(aggregate, contributions)
	}
	m.summing.streams = false // They end with the Send of the aggregate.
	m.retention.closed(aggregate, contributions)
	m.figures.rate.add(m.now, aggregate.Samples)
	m.effects = append(m.effects, StepClosed{aggregate})
	m.openStep(number + 1)
	m.wantCheckpoint()
	m.prune()
	return true
}

// commitStep writes the step down, before anyone is given the end of its sum.
func (m *Machine) commitStep(aggregate *protocol.Aggregate, contributions []*tree.Contribution) {
	number := aggregate.Step
	epoch, epochStep := m.identity.schedule.Locate(number)
	before, _ := m.agreement.reference(number)
	divisor := ledger.Float(aggregate.Divisor)
	record := &ledger.Step{
		Step: number, Epoch: epoch, EpochStep: epochStep, Samples: aggregate.Samples,
		LossSum: ledger.Float(aggregate.LossSum), Divisor: &divisor, AggregateHash: aggregate.Hash,
		Figures: figuresOf(m.step.tree.Reports()), FiguresBefore: m.agreement.headFigures,
		ParamsHash: before, Seconds: ledger.Float(m.now.Sub(m.step.opened).Seconds()), Workers: m.step.present,
		Time: m.now.UTC(),
	}
	for _, c := range contributions {
		entry := ledger.Contribution{First: c.Node.First, Count: c.Node.Count, Worker: c.Worker}
		for _, report := range c.Reports {
			from, to := m.identity.schedule.ShardRange(number, report.Shard)
			weight := ledger.Float(report.Weight)
			entry.Shards = append(entry.Shards, ledger.Shard{Shard: report.Shard, From: from, To: to,
				LossSum: ledger.Float(report.LossSum), Weight: &weight,
				Summed: report.Summed && from < to, BatchHash: report.BatchHash})
		}
		record.Contributions = append(record.Contributions, entry)
	}
	if stop := m.stopIn(contributions); stop != nil {
		// Before the step: if a crash leaves only this, the step is computed and ends the run all the
		// same.
		m.end.stop = stop
		m.commit(stop, record)
	} else {
		m.commit(record)
	}
	m.agreement.append(committedStep{record.AggregateHash, before})
	m.figures.closed = lineOf(record)
}

// onReplayDiffers handles a step that is in the ledger and came out with a different sum when it
// was recomputed. It may be the fault of one worker this once, so it is tried a second time; after
// that the run's bits cannot be trusted, and it stops.
func (m *Machine) onReplayDiffers(aggregate *protocol.Aggregate) {
	want, got := m.agreement.history[aggregate.Step].aggregate, aggregate.Hash
	aggregate.Gradients.Release()
	m.step.retries++
	detail := fmt.Sprintf("step %d was recomputed and its sum has hash %s, but the ledger has %s; "+
		"is this the same torch build and kind of processor, and are all operations deterministic?",
		aggregate.Step, got.Short(), want.Short())
	m.incident(ledger.Replay, 0, 0, nobody, detail)
	if m.step.retries < 2 {
		m.restartStep()
		return
	}
	m.halt(detail)
}

// prune forgets what no worker will be given again.
func (m *Machine) prune() {
	keep := int(min(keepAtMost, max(keepAtLeast, m.config.KeepBytes/m.identity.layout.Bytes())))
	for len(m.retention.aggregates) > keep {
		m.dropOldest()
	}
	if s := m.retention.snapshot; s != nil && s.Step+keepAtLeast < m.step.number {
		m.retention.dropSnapshot()
	}
}

func (m *Machine) dropOldest() {
	m.effects = append(m.effects, AggregateDropped{m.retention.dropOldest()})
}

// warnOfOverflow tells people when finite gradients add up to what is not finite: the workers'
// parameters will not survive it.
func (m *Machine) warnOfOverflow(number uint64, sum *tree.Result) {
	if sum.NotFinite >= 0 {
		name, position := m.identity.layout.At(sum.NotFinite)
		m.note(slog.LevelError, "the gradient sum overflows", "step", number, "tensor", name, "element", position,
			"value", sum.Sum.At(sum.NotFinite))
	}
}
