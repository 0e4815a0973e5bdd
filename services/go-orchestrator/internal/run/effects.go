package run

import (
	"log/slog"
	"math"
	"strconv"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// Effect is something to be done outside, in the order given: one of the types below.
type Effect interface{ isEffect() }

// Send answers a request. The shell retains what the reply shares (gradients, snapshots) before it handles the next event.
type Send struct {
	Peer    Peer
	Request uint64
	Reply   protocol.Reply
}

// WriteMetrics appends a line to metrics.jsonl.
type WriteMetrics struct{ Line MetricsLine }

// WriteRecord writes run.json anew.
type WriteRecord struct{ Record Record }

// Closed says that a step's sum is complete and committed.
type Closed struct{ Aggregate *protocol.Aggregate }

// Dropped says that the aggregate of a step will not be sent again.
type Dropped struct{ Step uint64 }

// Commit appends records to the ledger. Nothing that follows may be done before they are on the disk, and nothing at all if they cannot be.
type Commit struct{ Records []ledger.Record }

// WriteCheckpoint writes a worker's state to the disk, whole or not at all, and is answered with CheckpointWritten. The shell releases the snapshot.
type WriteCheckpoint struct {
	Snapshot  *protocol.Snapshot
	Epoch     uint32
	EpochStep uint32
}

// LoadCheckpoint reads a checkpoint back, and is answered with CheckpointLoaded.
type LoadCheckpoint struct{ Checkpoint ledger.Checkpoint }

// RemoveCheckpoint deletes one that is no longer needed.
type RemoveCheckpoint struct{ Checkpoint ledger.Checkpoint }

// Note is for the log.
type Note struct {
	Level   slog.Level
	Message string
	Args    []any // as slog takes them
}

func (Send) isEffect()             {}
func (WriteMetrics) isEffect()     {}
func (WriteRecord) isEffect()      {}
func (Closed) isEffect()           {}
func (Dropped) isEffect()          {}
func (Note) isEffect()             {}
func (Commit) isEffect()           {}
func (WriteCheckpoint) isEffect()  {}
func (LoadCheckpoint) isEffect()   {}
func (RemoveCheckpoint) isEffect() {}

// Number is a figure in a file; NaN and Inf, which JSON cannot hold, become null.
type Number float64

// MarshalJSON gives the shortest text that reads back as the same number.
func (n Number) MarshalJSON() ([]byte, error) {
	if f := float64(n); !math.IsNaN(f) && !math.IsInf(f, 0) {
		return strconv.AppendFloat(nil, f, 'g', -1, 64), nil
	}
	return []byte("null"), nil
}

// MetricsLine is one line of metrics.jsonl: a step that is closed and whose result the workers have applied.
type MetricsLine struct {
	Step            uint64 `json:"step"`
	Epoch           uint32 `json:"epoch"`
	Loss            Number `json:"loss"` // of the step: the shards' sum by their weights; null where nothing counted
	Samples         uint64 `json:"samples"`
	Seconds         Number `json:"seconds"` // from opening to closing
	Workers         int    `json:"workers"` // that were there at its opening
	ParamsHash      string `json:"params_hash"`
	AggregateHash   string `json:"aggregate_hash"`
	DataSeconds     Number `json:"data_seconds"` // mean over the workers, here and below
	ComputeSeconds  Number `json:"compute_seconds"`
	ExchangeSeconds Number `json:"exchange_seconds"`
}

// Record is run.json.
type Record struct {
	RunID           string         `json:"run_id"`
	Seed            uint64         `json:"seed"`
	Shards          uint32         `json:"shards"`
	BatchSize       uint32         `json:"batch_size"`
	Epochs          uint32         `json:"epochs"`
	MinShardSamples uint32         `json:"min_shard_samples"`
	DropLast        bool           `json:"drop_last"`
	TotalSteps      uint64         `json:"total_steps"` // 0 until the first worker has joined
	Dataset         *DatasetRecord `json:"dataset"`
	Parameters      []SpecRecord   `json:"parameters"`
	State           State          `json:"state"`
	Started         *string        `json:"started"` // RFC 3339, UTC
	Finished        *string        `json:"finished"`
	Steps           uint64         `json:"steps"` // closed and applied
	ParamsHash      string         `json:"params_hash"`

	ResumedFrom     *Resumption `json:"resumed_from"`
	Incidents       uint64      `json:"incidents"`        // in the ledger
	CheckpointError string      `json:"checkpoint_error"` // why the last checkpoint could not be written; "" when it was
	Stopped         string      `json:"stopped"`          // why the run ended before its last step; "" where it did not, or was only interrupted
}

// Resumption says what the run was taken up from, since the process was started, when no worker held its open step any more.
type Resumption struct {
	Step       uint64 `json:"step"`
	File       string `json:"file"`        // the checkpoint, relative to the run directory; "" for parameters that a worker held
	StepsAgain uint64 `json:"steps_again"` // committed ones, whose sums are computed again
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
