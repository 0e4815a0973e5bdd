// Package protocol holds the messages of a run as plain Go values: what schemas/tensor.capnp says,
// without its encoding. The state machine speaks only these; package wire turns them into frames
// and back. Of the schema's binding it takes what is a fact of the contract and not of its
// encoding: the numbers and names of enumerations, and the limits.
package protocol

import (
	"cmp"
	"time"

	"pangea.example/pangea/schemas/tensor"
	"pangea.example/pangea/services/go-orchestrator/internal/contenthash"
)

// Dataset is what a data service says of its data.
type Dataset struct {
	Name            string
	Hash            Hash
	TrainSamples    uint64
	HeldOutSamples  uint64
	Classes         uint32
	Features, Label Spec
}

// Settings are fixed for the life of a run.
type Settings struct {
	Seed      uint64
	Shards    uint32
	BatchSize uint32
	Epochs    uint32

	// Shards of a step are merged until each has at least this many samples; 0 or 1 merges none.
	MinShardSamples uint32
	// Samples at the end of an epoch that do not fill a step are left out of that epoch.
	DropLast bool
	// Of parameters, aggregates and batches. A run keeps the one that it began with.
	ContentHash contenthash.Method
}

// Timings say where a worker's time went since its last request for work, in seconds.
type Timings struct{ Data, Compute, Exchange float64 }

// Join is a worker's first message.
type Join struct {
	Version        uint16
	WorkerName     string
	Software       string
	Parameters     []Spec
	ParametersHash Hash // SHA-256
	// The same as contenthash.XXH3Tree; all zeros from a worker of an earlier protocol.
	ParametersContentHash Hash
	Step                  uint64
	Dataset               Dataset
	ProcessID             uint32
	RunID                 string        // of an earlier connection; empty at the first
	Heartbeat             time.Duration // longest silence that the worker promises; 0 for no promise
	// How a step changes the parameters, as JSON; empty where the worker does not report it.
	Training     string
	Arithmetic   string        // level that its arithmetic is pinned to; empty where it is not
	Fingerprints []Fingerprint // of a reference computation
}

// HashBy returns the hash of the worker's parameters by the method that the run uses: a worker
// learns only from the reply which one that is.
func (j *Join) HashBy(method contenthash.Method) Hash {
	if method == contenthash.SHA256 {
		return j.ParametersHash
	}
	return j.ParametersContentHash
}

// Fingerprint is what one operator computes from fixed inputs.
type Fingerprint struct {
	Operator string
	Hash     Hash
}

// Work asks what to do next: the worker's parameters have Step steps applied.
type Work struct {
	Step           uint64
	ParametersHash Hash
	Timings        Timings
	Stop           string // not empty: why the run is to end after the last committed step
	Figures        []Figure
}

// Report says what went into the gradient sum of one shard.
type Report struct {
	Shard     uint32
	Samples   uint32
	LossSum   float64 // the loss times Weight; with Summed, the loss
	BatchHash Hash
	// What the gradient was multiplied by: the number of things that its loss is a mean over.
	Weight float64
	Summed bool   // the loss is a sum over them
	Stop   string // not empty: why the run is to end after this step

	Figures []Figure
}

// SameResult reports whether all but the figures is the same.
func (r Report) SameResult(other Report) bool {
	return r.Shard == other.Shard && r.Samples == other.Samples && r.LossSum == other.LossSum &&
		r.BatchHash == other.BatchHash && r.Weight == other.Weight && r.Summed == other.Summed && r.Stop == other.Stop
}

// Figure is a number that a script logs.
type Figure struct {
	Name  string
	Value float64
}

// Leave announces that a worker leaves.
type Leave struct {
	Reason string
	Broken string // not empty: how the worker's script breaks the promise of the same bits
	// It cannot load the state that it was sent.
	CannotLoad bool
}

// Reply is an answer of the orchestrator: one of the types below, *Aggregate or *Snapshot.
type Reply interface{ Kind() Kind }

// Joined answers Join.
type Joined struct {
	RunID      string
	WorkerID   uint32
	Settings   Settings
	Step       uint64
	TotalSteps uint64
}

// Lease answers Work: compute these shards, ascending.
type Lease struct {
	Step      uint64
	Epoch     uint32
	EpochStep uint32
	Shards    []uint32
	Separate  []uint32 // of them: to be submitted one by one
}

// Ack answers a gradient update.
type Ack struct {
	Verdict Verdict
	Detail  string
}

// SnapshotRequest answers Work: send your state, another worker needs it.
type SnapshotRequest struct{ Step uint64 }

// Finished answers Work: all steps are done, or a script has ended the run earlier.
type Finished struct {
	Steps          uint64
	ParametersHash Hash
	Incidents      uint64 // in the ledger
	Stopped        string // why it ended before its last step
}

// Left answers Leave.
type Left struct{ Reason string }

// Kind names the message.
func (Joined) Kind() Kind          { return KindJoinReply }
func (Lease) Kind() Kind           { return KindShardLease }
func (Ack) Kind() Kind             { return KindGradientAck }
func (SnapshotRequest) Kind() Kind { return KindSnapshotRequest }
func (Finished) Kind() Kind        { return KindRunFinished }
func (Left) Kind() Kind            { return KindLeave }

// Verdict says what became of a gradient update.
type Verdict uint16

// The verdicts of the schema.
const (
	VerdictUnspecified = Verdict(tensor.Verdict_unspecified)
	Accepted           = Verdict(tensor.Verdict_accepted)
	Duplicate          = Verdict(tensor.Verdict_duplicate)
	Conflict           = Verdict(tensor.Verdict_conflict)
	Stale              = Verdict(tensor.Verdict_stale)
	TooEarly           = Verdict(tensor.Verdict_tooEarly)
	Refused            = Verdict(tensor.Verdict_refused)
)

// String returns the schema's name.
func (v Verdict) String() string { return cmp.Or(tensor.Verdict(v).String(), "unknown") }
