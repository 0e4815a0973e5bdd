package run

import (
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// Record is run.json.
type Record struct {
	RunID           string         `json:"run_id"`
	Release         string         `json:"release"` // of the orchestrator that wrote this
	Seed            uint64         `json:"seed"`
	Shards          uint32         `json:"shards"`
	BatchSize       uint32         `json:"batch_size"`
	Epochs          uint32         `json:"epochs"`
	MinShardSamples uint32         `json:"min_shard_samples"`
	DropLast        bool           `json:"drop_last"`
	ContentHash     string         `json:"content_hash"` // what params_hash is
	TotalSteps      uint64         `json:"total_steps"`  // 0 until the first worker has joined
	Dataset         *DatasetRecord `json:"dataset"`
	Parameters      []SpecRecord   `json:"parameters"`
	State           State          `json:"state"`
	Started         *string        `json:"started"` // RFC 3339, UTC
	Finished        *string        `json:"finished"`
	Steps           uint64         `json:"steps"` // closed and applied
	ParamsHash      string         `json:"params_hash"`

	ResumedFrom *Resumption `json:"resumed_from"`
	Incidents   uint64      `json:"incidents"` // in the ledger
	// Why the last checkpoint could not be written; "" when it was.
	CheckpointError string `json:"checkpoint_error"`
	// Why the run ended before its last step; "" where it did not or was merely interrupted.
	Stopped string `json:"stopped"`
}

// Resumption says from what the run continued, since the process was started, when no worker held
// its open step any more.
type Resumption struct {
	Step uint64 `json:"step"`
	// The checkpoint, relative to the run directory; "" for parameters that a worker held.
	File       string `json:"file"`
	StepsAgain uint64 `json:"steps_again"` // committed ones, whose sums are recomputed
}

// DatasetRecord is what run.json says of the data.
type DatasetRecord struct {
	Name           string     `json:"name"`
	Hash           string     `json:"hash"`
	TrainSamples   uint64     `json:"train_samples"`
	HeldOutSamples uint64     `json:"held_out_samples"`
	Classes        uint32     `json:"classes"`
	Features       SpecRecord `json:"features"`
	Labels         SpecRecord `json:"labels"`
}

// SpecRecord is a tensor in run.json.
type SpecRecord struct {
	Name  string   `json:"name"`
	DType string   `json:"dtype"`
	Shape []uint64 `json:"shape"`
}

func specRecord(s protocol.Spec) SpecRecord {
	return SpecRecord{s.Name, s.DType.String(), append([]uint64{}, s.Shape...)}
}

// Record of the run now.
func (m *Machine) Record() Record {
	s := m.config.Settings
	record := Record{
		RunID: m.config.RunID, Release: m.config.Release, Seed: s.Seed, Shards: s.Shards, BatchSize: s.BatchSize,
		Epochs: s.Epochs, MinShardSamples: s.MinShardSamples, DropLast: s.DropLast,
		ContentHash: s.ContentHash.String(), TotalSteps: m.totalSteps(),
		Parameters: []SpecRecord{}, State: m.state, Started: stamp(m.figures.started), Finished: stamp(m.figures.finished),
		Steps:       m.agreement.agreedSteps,
		ResumedFrom: m.figures.resumption, Incidents: m.figures.incidents, Stopped: m.end.reason(),
		CheckpointError: m.retention.saving.failure,
	}
	if m.identity.layout != nil {
		record.ParamsHash = m.agreement.agreedHash.String()
		for _, spec := range m.identity.layout.Specs {
			record.Parameters = append(record.Parameters, specRecord(spec))
		}
		d := m.identity.dataset
		record.Dataset = &DatasetRecord{d.Name, d.Hash.String(), d.TrainSamples, d.HeldOutSamples, d.Classes,
			specRecord(d.Features), specRecord(d.Label)}
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
