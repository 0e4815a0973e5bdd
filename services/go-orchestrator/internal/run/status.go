package run

import (
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// Status is what people and dashboards see of a run.
type Status struct {
	RunID            string         `json:"run_id"`
	State            State          `json:"state"`
	Step             uint64         `json:"step"`      // the open one
	Committed        uint64         `json:"committed"` // steps in the ledger
	Replaying        bool           `json:"replaying"` // the open step is one of them: it is computed again
	TotalSteps       uint64         `json:"total_steps"`
	Epoch            uint32         `json:"epoch"`
	Loss             Number         `json:"loss"` // of the last step that was applied
	ParamsHash       string         `json:"params_hash"`
	Workers          []WorkerStatus `json:"workers"`
	SamplesPerSecond Number         `json:"samples_per_second"` // over the last steps
	SecondLeases     uint64         `json:"second_leases"`      // shards leased to a further worker because the first was late, since the start of the process
	RecomputedSteps  uint64         `json:"recomputed_steps"`   // committed steps that were computed again, since the start of the process
	ResumedFrom      *Resumption    `json:"resumed_from"`       // as in run.json
	Incidents        uint64         `json:"incidents"`          // in the ledger
	CheckpointError  string         `json:"checkpoint_error"`   // why the last checkpoint could not be written; "" when it was
	Stopped          string         `json:"stopped"`            // why the run ends, or ended, before its last step; "" where it does not
}

// WorkerStatus is one worker of a Status.
type WorkerStatus struct {
	ID      uint32   `json:"id"`
	Name    string   `json:"name"`
	PID     uint32   `json:"pid"`
	Step    uint64   `json:"step"`
	Silent  bool     `json:"silent"`  // no heartbeat for a while
	Hanging bool     `json:"hanging"` // nothing but heartbeats for a while
	Shards  []uint32 `json:"shards"`  // of the open step, not yet submitted
}

// Status of the run now.
func (m *Machine) Status() Status {
	s := Status{
		RunID: m.config.RunID, State: m.state, Step: m.step.number, Committed: m.committed(), Replaying: m.replaying(), TotalSteps: m.totalSteps(),
		Loss: m.agreed.loss, SamplesPerSecond: m.rate.perSecond(), SecondLeases: m.overtakes, Workers: []WorkerStatus{},
		RecomputedSteps: m.recomputed, ResumedFrom: m.resumption, Incidents: m.incidents, Stopped: m.stopped(),
		CheckpointError: m.saving.failure,
	}
	if m.layout != nil {
		s.ParamsHash = m.agreed.hash.String()
		s.Epoch, _ = m.schedule.Locate(min(s.Step, max(1, s.TotalSteps)-1))
	}
	for _, w := range m.workers {
		s.Workers = append(s.Workers, WorkerStatus{w.id, w.name, w.pid, w.step, w.silent, w.hanging, append([]uint32{}, m.unfinished(w.id)...)})
	}
	return s
}

// Record of the run now.
func (m *Machine) Record() Record {
	s := m.config.Settings
	record := Record{
		RunID: m.config.RunID, Seed: s.Seed, Shards: s.Shards, BatchSize: s.BatchSize, Epochs: s.Epochs, MinShardSamples: s.MinShardSamples, DropLast: s.DropLast, TotalSteps: m.totalSteps(),
		Parameters: []SpecRecord{}, State: m.state, Started: stamp(m.started), Finished: stamp(m.finished), Steps: m.agreed.steps,
		ResumedFrom: m.resumption, Incidents: m.incidents, Stopped: m.stopped(), CheckpointError: m.saving.failure,
	}
	if m.layout != nil {
		record.ParamsHash = m.agreed.hash.String()
		for _, spec := range m.layout.Specs {
			record.Parameters = append(record.Parameters, specRecord(spec))
		}
		d := m.dataset
		record.Dataset = &DatasetRecord{d.Name, d.Hash.String(), d.TrainSamples, d.HeldOutSamples, d.Classes, specRecord(d.Features), specRecord(d.Label)}
	}
	return record
}

func (m *Machine) writeRecord() { m.effects = append(m.effects, WriteRecord{m.Record()}) }

func stamp(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	text := t.UTC().Format(time.RFC3339Nano)
	return &text
}

// timings are the workers' since the last line of metrics.jsonl.
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

// seconds drops what no clock can have measured.
func seconds(given float64) float64 {
	if given > 0 && given < 1e9 {
		return given
	}
	return 0
}

// means gives the sums by worker and starts anew.
func (t *timings) means() (data, compute, exchange Number) {
	n := Number(max(1, len(t.workers)))
	data, compute, exchange = Number(t.sum.Data)/n, Number(t.sum.Compute)/n, Number(t.sum.Exchange)/n
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

func (r *rate) perSecond() Number {
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
	return Number(float64(sum) / elapsed)
}
