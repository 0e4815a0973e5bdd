package run

import (
	"fmt"
	"slices"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// Past is what is left of a run from before this process was started.
type Past struct {
	Records     []ledger.Record
	Lines       uint64                         // of metrics.jsonl
	Checkpoints func(c ledger.Checkpoint) bool // whether the checkpoint's file is still there
}

// committedStep is what is remembered of a step in the ledger: enough to know it again when it is computed again.
type committedStep struct {
	aggregate protocol.Hash
	params    protocol.Hash // before the step
}

// Open makes the machine of a run: of a new one, or of one that goes on where the ledger ends. The effects are to be carried out first.
func Open(config Config, now time.Time, past Past) (*Machine, []Effect, error) {
	m := &Machine{config: config, state: Waiting, now: now, quarantined: map[string]string{}, diverged: map[string]int{}, names: map[uint32]string{}, barred: map[Peer]*protocol.Error{}}
	m.saving.at = now
	if len(past.Records) == 0 {
		m.openStep(0)
		m.commit(m.settingsRecord(), &ledger.Start{Time: now.UTC()})
	} else {
		if err := m.restore(past); err != nil {
			return nil, nil, err
		}
		// The next step takes a checkpoint that goes by time: a process that is killed more often than one is due would never take any.
		m.saving.at = time.Time{}
		m.commit(&ledger.Start{Time: now.UTC(), Step: m.committed()})
	}
	m.step.opened = time.Time{}
	m.writeRecord()
	return m, m.effects, nil
}

func (m *Machine) settingsRecord() *ledger.Settings {
	s := m.config.Settings
	return &ledger.Settings{Format: ledger.Format, RunID: m.config.RunID, Seed: s.Seed, Shards: s.Shards, BatchSize: s.BatchSize, Epochs: s.Epochs,
		MinShardSamples: s.MinShardSamples, DropLast: s.DropLast}
}

// committed is how many steps are in the ledger.
func (m *Machine) committed() uint64 { return uint64(len(m.history)) }

// replaying says whether the open step is in the ledger already: the workers that are there need its sum again.
func (m *Machine) replaying() bool { return m.step.number < m.committed() }

// reference gives the hash of the run's parameters after that many steps, as far as it is known.
func (m *Machine) reference(step uint64) (protocol.Hash, bool) {
	switch {
	case step < m.committed():
		return m.history[step].params, true
	case step == m.committed() && m.tip != nil:
		return *m.tip, true
	}
	return protocol.Hash{}, false
}

func (m *Machine) commit(records ...ledger.Record) {
	m.effects = append(m.effects, Commit{records})
}

// restore brings the machine to where the ledger ends.
func (m *Machine) restore(past Past) error {
	if err := m.sameRun(past.Records[0]); err != nil {
		return err
	}
	if err := m.readEpochs(past.Records); err != nil {
		return err
	}
	var steps []*ledger.Step
	for i, record := range past.Records {
		switch r := record.(type) {
		case *ledger.Start:
			if m.started.IsZero() {
				m.started = r.Time
			}
		case *ledger.Model:
			if err := m.restoreModel(r); err != nil {
				return fmt.Errorf("record %d of the ledger: %w", i, err)
			}
		case *ledger.Worker:
			m.lastID = max(m.lastID, r.ID)
			m.names[r.ID] = r.Name
		case *ledger.Step:
			if r.Step != m.committed() || m.layout == nil || r.Step >= m.schedule.TotalSteps {
				return fmt.Errorf("record %d of the ledger is step %d where step %d has to be", i, r.Step, m.committed())
			}
			m.history = append(m.history, committedStep{r.AggregateHash, r.ParamsHash})
			m.agreed.steps, m.agreed.hash = r.Step, r.ParamsHash
			m.tip = nil
			steps = append(steps, r)
		case *ledger.Checkpoint:
			m.checkpoints = append(m.checkpoints, *r)
			if r.Step == m.committed() {
				// The workers had agreed on it before it was written, so nobody has to say it again.
				m.tip = &r.ParamsHash
				m.agreed.steps, m.agreed.hash = r.Step, r.ParamsHash
			}
		case *ledger.Stop:
			m.stop = r
		case *ledger.Change:
			m.changeKept(r)
		case *ledger.Incident:
			m.incidents++
			if r.Kind == ledger.Quarantine {
				m.quarantined[r.Name] = r.Detail
			}
		case *ledger.Finished:
			m.state, m.tip = Finished, &r.ParamsHash
			m.agreed.steps, m.agreed.hash = r.Steps, r.ParamsHash
		}
	}
	if past.Lines > m.committed() {
		return fmt.Errorf("metrics.jsonl tells of %d steps, but the ledger only of %d: it was cut, or is an older copy; put back the right one, or start a new run", past.Lines, m.committed())
	}
	m.checkpoints = slices.DeleteFunc(m.checkpoints, func(c ledger.Checkpoint) bool { return past.Checkpoints == nil || !past.Checkpoints(c) })
	m.changeNow()
	m.openStep(m.committed())
	m.restoreMetrics(steps, past.Lines)
	return nil
}

// sameRun refuses to go on with other settings.
func (m *Machine) sameRun(first ledger.Record) error {
	was, is := first.(*ledger.Settings)
	if !is {
		return fmt.Errorf("the ledger does not begin with the settings of a run")
	}
	if was.Format < ledger.OldestFormat || was.Format > ledger.Format {
		return fmt.Errorf("the ledger has format %d; this build reads %d to %d", was.Format, ledger.OldestFormat, ledger.Format)
	}
	if was.Format < 2 && m.config.DefaultCut {
		m.config.Settings.MinShardSamples = 0
	}
	now := m.settingsRecord()
	for _, s := range []struct {
		flag     string
		was, now any
	}{
		{"run-id", was.RunID, now.RunID}, {"seed", was.Seed, now.Seed}, {"shards", was.Shards, now.Shards},
		{"batch-size", was.BatchSize, now.BatchSize},
		{"min-shard-samples", was.MinShardSamples, now.MinShardSamples}, {"drop-last", was.DropLast, now.DropLast},
	} {
		if s.was != s.now {
			return fmt.Errorf("the run directory holds a run with --%s %v, but %v is asked for; use %v to go on with it, or another --run-dir", s.flag, s.was, s.now, s.was)
		}
	}
	m.epochs = was.Epochs
	return nil
}

func (m *Machine) restoreModel(r *ledger.Model) error {
	var specs []protocol.Spec
	for _, spec := range r.Parameters {
		specs = append(specs, spec.Protocol())
	}
	layout, err := protocol.NewLayout(specs, uint64(m.config.MemoryBytes)/4)
	if err != nil {
		return err
	}
	schedule, err := NewSchedule(m.config.Settings, r.Dataset.TrainSamples)
	if err != nil {
		return err
	}
	d := r.Dataset
	m.layout, m.schedule, m.software, m.state = layout, schedule, r.Software, Running
	m.dataset = protocol.Dataset{Name: d.Name, Hash: d.Hash, TrainSamples: d.TrainSamples, HeldOutSamples: d.HeldOutSamples, Classes: d.Classes,
		Features: d.Features.Protocol(), Label: d.Labels.Protocol()}
	m.computation = computation{training: r.Training, arithmetic: r.Arithmetic, fingerprints: r.Fingerprints}
	m.tip = &r.ParamsHash
	m.agreed.hash = r.ParamsHash
	return nil
}

// restoreMetrics writes the lines of metrics.jsonl that the crash has swallowed. That of the last step waits for the hash of its parameters.
func (m *Machine) restoreMetrics(steps []*ledger.Step, lines uint64) {
	m.lines = lines
	for _, step := range steps[lines:] {
		line := MetricsLine{
			Step: step.Step, Epoch: step.Epoch, Loss: Number(float64(step.LossSum) / step.DividedBy()), Samples: step.Samples, Seconds: Number(step.Seconds),
			Workers: step.Workers, AggregateHash: step.AggregateHash.String(),
		}
		m.closed = &line
		if hash, known := m.reference(step.Step + 1); known {
			m.completeLine(hash)
		}
	}
}

// completeLine writes the line of the last closed step, whose parameters have this hash.
func (m *Machine) completeLine(hash protocol.Hash) {
	line := m.closed
	if line == nil {
		return
	}
	m.closed = nil
	line.ParamsHash = hash.String()
	line.DataSeconds, line.ComputeSeconds, line.ExchangeSeconds = m.timings.means()
	m.agreed.loss = line.Loss
	m.lines = line.Step + 1
	m.effects = append(m.effects, WriteMetrics{*line})
}
