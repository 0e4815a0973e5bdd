package run

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/contenthash"
	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// Past is what is left of a run from before this process was started.
type Past struct {
	Records     ledger.Records                 // nil where there are none
	Lines       uint64                         // of metrics.jsonl
	Checkpoints func(c ledger.Checkpoint) bool // whether the checkpoint's file still exists
}

// Open makes the machine of a run: of a new one, or of one that continues where the ledger ends.
// The effects must be carried out before any event is handled.
func Open(config Config, now time.Time, past Past) (*Machine, []Effect, error) {
	m := &Machine{config: config, state: Waiting, now: now, roster: newRoster()}
	m.retention.saving.at = now
	if past.Records == nil {
		m.openStep(0)
		m.commit(m.settingsRecord(), &ledger.Start{Time: now.UTC(), Release: config.Release})
	} else {
		if err := m.restore(past); err != nil {
			return nil, nil, err
		}
		// A checkpoint by time is due with the next step: a process that is killed more often than one is
		// due would never take any.
		m.retention.saving.at = time.Time{}
		m.commit(&ledger.Start{Time: now.UTC(), Step: m.agreement.committed(), Release: config.Release})
	}
	m.step.opened = time.Time{}
	m.writeRecord()
	return m, m.effects, nil
}

func (m *Machine) settingsRecord() *ledger.Settings {
	s := m.config.Settings
	return &ledger.Settings{Format: ledger.Format, RunID: m.config.RunID, Seed: s.Seed, Shards: s.Shards,
		BatchSize: s.BatchSize, Epochs: s.Epochs,
		MinShardSamples: s.MinShardSamples, DropLast: s.DropLast, ContentHash: s.ContentHash.String(),
		PublicKey: m.config.PublicKey}
}

// commit writes records down, and before them those of workers that they may name.
func (m *Machine) commit(records ...ledger.Record) {
	m.effects = append(m.effects, Commit{append(m.roster.newcomers.take(), records...)})
}

// restore brings the machine to where the ledger ends.
func (m *Machine) restore(past Past) error {
	if err := m.sameRun(past.Records); err != nil {
		return err
	}
	if err := m.readEpochs(past.Records); err != nil {
		return err
	}
	var missing []*unwritten
	number := -1
	err := past.Records.Each(func(record ledger.Record) error {
		number++
		if step, is := record.(*ledger.Step); is && step.Step >= past.Lines {
			missing = append(missing, &unwritten{lineOf(step), step.FiguresBefore})
		}
		if err := m.restoreRecord(record); err != nil {
			return fmt.Errorf("record %d of the ledger: %w", number, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if past.Lines > m.agreement.committed() {
		return fmt.Errorf("metrics.jsonl has %d steps but the ledger only %d; "+
			"the ledger was truncated or restored from an older copy; put back the right one, or start a new run", past.Lines,
			m.agreement.committed())
	}
	m.retention.checkpoints = slices.DeleteFunc(m.retention.checkpoints,
		func(c ledger.Checkpoint) bool { return past.Checkpoints == nil || !past.Checkpoints(c) })
	m.takeChanges()
	m.openStep(m.agreement.committed())
	m.restoreMetrics(missing)
	return nil
}

// restoreRecord takes one record of the ledger.
func (m *Machine) restoreRecord(record ledger.Record) error {
	switch r := record.(type) {
	case *ledger.Start:
		if m.figures.started.IsZero() {
			m.figures.started = r.Time
		}
	case *ledger.Model:
		return m.restoreModel(r)
	case *ledger.Worker:
		m.roster.restore(r.ID, r.Name)
	case *ledger.Step:
		if r.Step != m.agreement.committed() || m.identity.layout == nil || r.Step >= m.identity.schedule.TotalSteps {
			return fmt.Errorf("it is step %d where step %d is expected", r.Step, m.agreement.committed())
		}
		m.agreement.append(committedStep{r.AggregateHash, r.ParamsHash})
	case *ledger.Checkpoint:
		m.retention.addCheckpoint(*r)
		if r.Step == m.agreement.committed() {
			// The workers had agreed on these parameters before the checkpoint was written, so nobody has to
			// report them again.
			m.agreement.agree(r.ParamsHash)
		}
	case *ledger.Stop:
		m.end.stop = r
	case *ledger.Change:
		m.applyChange(r)
	case *ledger.Incident:
		m.figures.incidents++
		if r.Kind == ledger.Quarantine {
			m.roster.quarantined[r.Name] = r.Detail
		}
	case *ledger.Finished:
		m.state = Finished
		m.agreement.agree(r.ParamsHash)
		m.agreement.headFigures = r.Figures
	}
	return nil
}

// errEnough ends a visit of records early.
var errEnough = errors.New("enough was read")

// first returns the first record.
func first(records ledger.Records) (found ledger.Record, err error) {
	err = records.Each(func(record ledger.Record) error {
		found = record
		return errEnough
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return found, err
}

// sameRun refuses to continue a run with settings that differ from those in its first record: they
// are part of its arithmetic.
func (m *Machine) sameRun(records ledger.Records) error {
	begins, err := first(records)
	if err != nil {
		return err
	}
	was, is := begins.(*ledger.Settings)
	if !is {
		return fmt.Errorf("the ledger does not begin with the settings of a run")
	}
	if was.Format < ledger.OldestFormat || was.Format > ledger.Format {
		return fmt.Errorf("the ledger has format %d; this build reads %d to %d", was.Format, ledger.OldestFormat,
			ledger.Format)
	}
	if was.Format < 2 && m.config.DefaultCut {
		m.config.Settings.MinShardSamples = 0
	}
	if err := m.takeContentHash(was); err != nil {
		return err
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
			return fmt.Errorf(
				"the run directory holds a run with --%s %v, but %v was requested; use %v to continue it, or another --run-dir",
				s.flag, s.was, s.now, s.was)
		}
	}
	m.identity.epochs = was.Epochs
	return nil
}

// takeContentHash makes the run hash as it has begun: the hashes in its ledger are to be compared
// with those of now.
func (m *Machine) takeContentHash(was *ledger.Settings) (err error) {
	m.config.Settings.ContentHash = contenthash.SHA256
	if was.ContentHash != "" {
		if m.config.Settings.ContentHash, err = contenthash.ParseMethod(was.ContentHash); err != nil {
			return fmt.Errorf("read the settings in the ledger: %w; use the release that wrote it", err)
		}
	}
	return nil
}

// restoreModel takes from the ledger what the run's first worker brought.
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
	m.state = Running
	m.identity.layout, m.identity.schedule, m.identity.software = layout, schedule, r.Software
	m.identity.dataset = protocol.Dataset{Name: d.Name, Hash: d.Hash, TrainSamples: d.TrainSamples,
		HeldOutSamples: d.HeldOutSamples, Classes: d.Classes,
		Features: d.Features.Protocol(), Label: d.Labels.Protocol()}
	m.identity.computation = computation{training: r.Training, arithmetic: r.Arithmetic, fingerprints: r.Fingerprints}
	m.agreement.agree(r.ParamsHash)
	return nil
}

// unwritten is a step that metrics.jsonl lacks.
type unwritten struct {
	line   *MetricsLine
	before map[string]ledger.Float // that the script logged when the step before was applied
}

// restoreMetrics writes the lines that are missing from metrics.jsonl, which is not synced, after a
// crash. That of the last step waits for the hash of its parameters.
func (m *Machine) restoreMetrics(missing []*unwritten) {
	for i, step := range missing {
		m.figures.closed = step.line
		logged := m.agreement.headFigures
		if i+1 < len(missing) {
			logged = missing[i+1].before
		}
		if hash, known := m.agreement.reference(step.line.Step + 1); known {
			m.completeLine(hash, logged)
		}
	}
}
