package run

import (
	"maps"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// figures are what people are shown of a run. The machine decides nothing by them, so a wrong one
// is never more than that.
type figures struct {
	started, finished time.Time

	closed  *MetricsLine            // of the last committed step, until its parameters' hash is known
	loss    ledger.Float            // of the last step that was applied
	logged  map[string]ledger.Float // by the script, in that step
	timings timings
	rate    rate

	incidents    uint64      // in the ledger
	secondLeases uint64      // shards leased to a further worker because the first was late
	recomputed   uint64      // committed steps that were closed again
	resumption   *Resumption // from what the run last continued; nil where its open step was never lost
}

// MetricsLine is one line of metrics.jsonl: a step that is closed and whose result the workers have
// applied.
type MetricsLine struct {
	Step  uint64 `json:"step"`
	Epoch uint32 `json:"epoch"`
	// Of the step: the shards' sum by their weights; null where nothing counted.
	Loss            ledger.Float `json:"loss"`
	Samples         uint64       `json:"samples"`
	Seconds         ledger.Float `json:"seconds"` // from opening to closing
	Workers         int          `json:"workers"` // that were there at its opening
	Time            string       `json:"time"`    // of its closing: RFC 3339, UTC
	ParamsHash      string       `json:"params_hash"`
	AggregateHash   string       `json:"aggregate_hash"`
	DataSeconds     ledger.Float `json:"data_seconds"` // mean over the workers, here and below
	ComputeSeconds  ledger.Float `json:"compute_seconds"`
	ExchangeSeconds ledger.Float `json:"exchange_seconds"`
	// What the script logged in and after the step, by name.
	Figures map[string]ledger.Float `json:"figures,omitempty"`
}

// lineOf returns the line of a step of which everything but the parameters after it is known.
func lineOf(step *ledger.Step) *MetricsLine {
	return &MetricsLine{
		Step: step.Step, Epoch: step.Epoch, Loss: ledger.Float(float64(step.LossSum) / step.DividedBy()),
		Samples: step.Samples, Seconds: ledger.Float(step.Seconds), Time: step.Time.UTC().Format(time.RFC3339Nano),
		Workers: step.Workers, AggregateHash: step.AggregateHash.String(), Figures: maps.Clone(step.Figures),
	}
}

// completeLine writes the line of the last closed step, whose parameters have this hash and after
// which this was logged. A figure that was logged in the step, too, has the later value.
func (m *Machine) completeLine(hash protocol.Hash, logged map[string]ledger.Float) {
	f := &m.figures
	line := f.closed
	if line == nil {
		return
	}
	f.closed = nil
	line.ParamsHash = hash.String()
	line.DataSeconds, line.ComputeSeconds, line.ExchangeSeconds = f.timings.means()
	if line.Figures == nil && len(logged) > 0 {
		line.Figures = map[string]ledger.Float{}
	}
	maps.Copy(line.Figures, logged)
	f.loss, f.logged = line.Loss, line.Figures
	m.effects = append(m.effects, WriteMetrics{*line})
}

// timings are what workers reported since the last line of metrics.jsonl.
type timings struct {
	sum     protocol.Timings
	workers map[uint32]struct{}
}

func (t *timings) add(worker uint32, given protocol.Timings) {
	if t.workers == nil {
		t.workers = map[uint32]struct{}{}
	}
	t.workers[worker] = struct{}{}
	t.sum.Data += seconds(given.Data)
	t.sum.Compute += seconds(given.Compute)
	t.sum.Exchange += seconds(given.Exchange)
}

// seconds replaces what no clock can have measured by 0.
func seconds(given float64) float64 {
	if given > 0 && given < 1e9 {
		return given
	}
	return 0
}

// means returns the mean of each sum over the workers, and resets them.
func (t *timings) means() (data, compute, exchange ledger.Float) {
	n := ledger.Float(max(1, len(t.workers)))
	data, compute, exchange = ledger.Float(t.sum.Data)/n, ledger.Float(t.sum.Compute)/n, ledger.Float(t.sum.Exchange)/n
	*t = timings{}
	return
}

// rate is the speed over the last steps.
type rate struct {
	at      [32]time.Time
	samples [32]uint64
	steps   int
}

func (r *rate) add(now time.Time, samples uint64) {
	r.at[r.steps%len(r.at)], r.samples[r.steps%len(r.at)] = now, samples
	r.steps++
}

func (r *rate) perSecond() ledger.Float {
	n := min(r.steps, len(r.at))
	if n < 2 {
		return 0
	}
	first, last := r.steps-n, r.steps-1
	sum := uint64(0)
	for i := first + 1; i <= last; i++ {
		sum += r.samples[i%len(r.at)]
	}
	elapsed := r.at[last%len(r.at)].Sub(r.at[first%len(r.at)]).Seconds()
	if elapsed <= 0 {
		return 0
	}
	return ledger.Float(float64(sum) / elapsed)
}
