package ledger

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// Formats of a ledger: that of new ones, and the oldest that can be resumed. Format 1 has no
// weights and no merged shards: its settings mean min_shard_samples 0 and drop_last false, and the
// weight of a shard is its number of samples. Formats 1 and 2 have no content_hash: it is SHA-256.
const (
	Format       = 3
	OldestFormat = 1
)

// Record is one line of the ledger: one of the types below.
type Record interface{ kind() string }

// Settings is the first record: what the run is.
type Settings struct {
	Format    int    `json:"format"`
	RunID     string `json:"run_id"`
	Seed      uint64 `json:"seed"`
	Shards    uint32 `json:"shards"`
	BatchSize uint32 `json:"batch_size"`
	Epochs    uint32 `json:"epochs"`

	MinShardSamples uint32 `json:"min_shard_samples"`
	DropLast        bool   `json:"drop_last"`

	// The name of what aggregate_hash, params_hash and batch_hash are; "" means SHA-256.
	ContentHash string `json:"content_hash,omitempty"`
	// The key that the ledger's head is signed with; "" where it is not.
	PublicKey string `json:"public_key,omitempty"`
}

// Start records that the orchestrator was started.
type Start struct {
	Time time.Time `json:"time"`
	Step uint64    `json:"step"` // steps in the ledger then

	Release string `json:"release,omitempty"` // of the orchestrator; missing in older ledgers
}

// Model is what the first worker brought. It is fixed from then on.
type Model struct {
	Software   string        `json:"software"`
	Dataset    Dataset       `json:"dataset"`
	Parameters []Spec        `json:"parameters"`
	ParamsHash protocol.Hash `json:"params_hash"` // of the initial parameters
	EpochSteps uint64        `json:"epoch_steps"`
	TotalSteps uint64        `json:"total_steps"`

	// How a step changes the parameters, as JSON; "" where the worker did not report it.
	Training string `json:"training,omitempty"`
	// Level that it is pinned to; "" where it is not.
	Arithmetic string `json:"arithmetic,omitempty"`
	// Of a reference computation, by operator.
	Fingerprints map[string]protocol.Hash `json:"fingerprints,omitempty"`
}

// Dataset of a run.
type Dataset struct {
	Name           string        `json:"name"`
	Hash           protocol.Hash `json:"hash"`
	TrainSamples   uint64        `json:"train_samples"`
	HeldOutSamples uint64        `json:"held_out_samples"`
	Classes        uint32        `json:"classes"`
	Features       Spec          `json:"features"`
	Labels         Spec          `json:"labels"`
}

// Spec of a tensor.
type Spec struct {
	Name  string   `json:"name"`
	DType string   `json:"dtype"`
	Shape []uint64 `json:"shape"`
}

// Worker records that a worker has joined.
type Worker struct {
	ID       uint32    `json:"id"`
	Name     string    `json:"name"`
	PID      uint32    `json:"pid"`
	Software string    `json:"software"`
	Step     uint64    `json:"step"` // that it holds
	Time     time.Time `json:"time"`
}

// Step records that a step's sum is complete. It is written before any worker gets the sum.
type Step struct {
	Step      uint64 `json:"step"`
	Epoch     uint32 `json:"epoch"`
	EpochStep uint32 `json:"epoch_step"`
	Samples   uint64 `json:"samples"`
	LossSum   Float  `json:"loss_sum"`
	// Of gradient and loss_sum; nil only in format 1, where it is the number of samples.
	Divisor       *Float         `json:"divisor,omitempty"`
	AggregateHash protocol.Hash  `json:"aggregate_hash"`
	ParamsHash    protocol.Hash  `json:"params_hash"` // of the parameters before the step
	Seconds       Float          `json:"seconds"`     // from opening to closing
	Workers       int            `json:"workers"`     // that were there at its opening
	Time          time.Time      `json:"time"`
	Contributions []Contribution `json:"contributions"` // ascending; they cover all shards

	// What scripts logged about the shards of this step, and when the step before was applied.
	Figures       map[string]Float `json:"figures,omitempty"`
	FiguresBefore map[string]Float `json:"figures_before,omitempty"`
}

// DividedBy is what the step's sums are divided by.
func (s *Step) DividedBy() float64 {
	if s.Divisor == nil {
		return float64(s.Samples)
	}
	return float64(*s.Divisor)
}

// Contribution is a gradient sum that a worker sent.
type Contribution struct {
	First  uint32  `json:"first"`
	Count  uint32  `json:"count"`
	Worker uint32  `json:"worker"`
	Shards []Shard `json:"shards"`
}

// Shard of a step: the samples at the positions [From, To) of the epoch's order. Weight is absent
// only in format 1, where it is To - From.
type Shard struct {
	Shard     uint32        `json:"shard"`
	From      uint64        `json:"from"`
	To        uint64        `json:"to"`
	LossSum   Float         `json:"loss_sum"`
	Weight    *Float        `json:"weight,omitempty"`
	Summed    bool          `json:"summed,omitempty"` // the loss is a sum, not a mean
	BatchHash protocol.Hash `json:"batch_hash"`
}

// Checkpoint records that a checkpoint is complete on the disk.
type Checkpoint struct {
	Step       uint64        `json:"step"`
	File       string        `json:"file"` // relative to the run directory
	Bytes      uint64        `json:"bytes"`
	SHA256     protocol.Hash `json:"sha256"`
	ParamsHash protocol.Hash `json:"params_hash"`
}

// CheckpointFile returns the only name that the checkpoint of a step may have, relative to the run
// directory: a ledger from elsewhere must not name any other file.
func CheckpointFile(step uint64) string {
	return fmt.Sprintf("checkpoints/step-%010d.safetensors", step)
}

// Kinds of an Incident.
const (
	Conflict   = "conflict"   // two workers computed different bits for the same shards
	Divergence = "divergence" // a worker's parameters are not those of the run
	Quarantine = "quarantine" // a worker was proven wrong and may not return
	Replay     = "replay"     // a step that was recomputed had different bits from the first time
	Script     = "script"     // a worker found that its script breaks the promise of the same bits
)

// Incident is something that should not happen, and what was done about it.
type Incident struct {
	Kind   string    `json:"kind"`
	Step   uint64    `json:"step"`
	First  uint32    `json:"first"`
	Count  uint32    `json:"count"` // of shards; 0 where none are concerned
	Worker uint32    `json:"worker"`
	Name   string    `json:"name"`
	Detail string    `json:"detail"`
	Time   time.Time `json:"time"`

	// Of a conflict that a third worker may settle: the worker whose result arrived first.
	Other uint32 `json:"other,omitempty"`
}

// Stop records that a worker's script ended the run: after Steps steps, before its last one.
// Finished with the same number follows once these are applied; a Change lets the run continue.
type Stop struct {
	Steps  uint64    `json:"steps"`
	Reason string    `json:"reason"`
	Worker uint32    `json:"worker"`
	Name   string    `json:"name"`
	Time   time.Time `json:"time"`
}

// What a Change is about.
const (
	// Decimal numbers; the run has that many from then on, and continues if it was finished.
	ChangedEpochs   = "epochs"
	ChangedTraining = "training" // Model.Training
	ChangedStop     = "stop"     // from the reason of the last Stop to "": it no longer holds
)

// Change records that a person gave the run a different setting when it was resumed, or that a
// worker brought one that was to be accepted.
type Change struct {
	What string    `json:"what"`
	From string    `json:"from"`
	To   string    `json:"to"`
	Step uint64    `json:"step"` // in the ledger then: the first step that it applies to
	Time time.Time `json:"time"`
}

// Finished records that all steps are closed and applied.
type Finished struct {
	Steps      uint64        `json:"steps"`
	ParamsHash protocol.Hash `json:"params_hash"`

	// What scripts logged when the last step was applied.
	Figures map[string]Float `json:"figures,omitempty"`
}

func (*Settings) kind() string   { return "settings" }
func (*Start) kind() string      { return "start" }
func (*Model) kind() string      { return "model" }
func (*Worker) kind() string     { return "worker" }
func (*Step) kind() string       { return "step" }
func (*Checkpoint) kind() string { return "checkpoint" }
func (*Incident) kind() string   { return "incident" }
func (*Stop) kind() string       { return "stop" }
func (*Change) kind() string     { return "change" }
func (*Finished) kind() string   { return "finished" }

// Float is a float64 in its shortest exact form; NaN and Inf, which JSON cannot hold, become null
// and are read as NaN.
type Float float64

// MarshalJSON writes it.
func (f Float) MarshalJSON() ([]byte, error) {
	if v := float64(f); !math.IsNaN(v) && !math.IsInf(v, 0) {
		return json.Marshal(v)
	}
	return []byte("null"), nil
}

// UnmarshalJSON reads it.
func (f *Float) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*f = Float(math.NaN())
		return nil
	}
	return json.Unmarshal(text, (*float64)(f))
}

// encode returns the body of a record's line.
func encode(record Record) ([]byte, error) {
	fields, err := json.Marshal(record)
	if err != nil {
		return nil, fmt.Errorf("encode a %s record: %w", record.kind(), err)
	}
	return append([]byte(`{"type":"`+record.kind()+`",`), fields[1:]...), nil
}

// decode reads a body. A type that this build does not know is an error: to continue without the
// record might repeat or lose something.
func decode(body []byte) (Record, error) {
	var head struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(body, &head); err != nil {
		return nil, err
	}
	for _, record := range []Record{&Settings{}, &Start{}, &Model{}, &Worker{}, &Step{}, &Checkpoint{}, &Incident{},
		&Stop{}, &Change{}, &Finished{}} {
		if record.kind() == head.Type {
			return record, json.Unmarshal(body, record)
		}
	}
	return nil, fmt.Errorf("the record type %q is unknown; use the release that wrote this ledger", head.Type)
}

// SpecOf returns the ledger's form of a spec.
func SpecOf(s protocol.Spec) Spec {
	return Spec{s.Name, s.DType.String(), append([]uint64{}, s.Shape...)}
}

// Protocol returns the spec as messages have it; a type that this build does not know becomes
// unspecified.
func (s Spec) Protocol() protocol.Spec {
	return protocol.Spec{Name: s.Name, DType: protocol.ParseDType(s.DType), Shape: s.Shape}
}
