package run

import (
	"log/slog"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/tree"
)

// Effect is something to be done outside, in the order given: one of the types below.
type Effect interface{ isEffect() }

// Send answers a request. The shell retains what the reply shares (gradients, snapshots) before it
// handles the next event.
type Send struct {
	Peer    Peer
	Request uint64
	Reply   protocol.Reply
}

// Sum adds up contributions to the open step, and is answered with Summed, at any time later: other
// events are handled meanwhile. The shell releases the sum's holds on its operands.
type Sum struct {
	// Counts the sums that were begun. One of an open step that was begun again, or left, is no longer
	// wanted when it arrives.
	Generation uint64
	Sum        *tree.Sum
}

// Stream begins to answer a request with the sum that is being made: most of it can be there before
// the step is committed. It ends with the Send of the aggregate, and is abandoned by any other Send
// to the peer, or by Abandon. A shell may also ignore it, and send everything at the end.
type Stream struct {
	Peer      Peer
	Request   uint64
	Aggregate protocol.Aggregate // without gradients and hash
}

// Abandon ends all streams of a sum that will not be committed, or not soon: their receivers drop
// what they have, and wait for another answer.
type Abandon struct{}

// WriteMetrics appends a line to metrics.jsonl.
type WriteMetrics struct{ Line MetricsLine }

// WriteRecord replaces run.json.
type WriteRecord struct{ Record Record }

// StepClosed reports that a step's sum is complete and committed.
type StepClosed struct{ Aggregate *protocol.Aggregate }

// AggregateDropped reports that the aggregate of a step will not be sent again.
type AggregateDropped struct{ Step uint64 }

// Commit appends records to the ledger. No later effect may be carried out before they are on the
// disk, and none at all if they cannot be written: a worker that was told something that the ledger
// does not know could not be continued from.
type Commit struct{ Records []ledger.Record }

// WriteCheckpoint writes a worker's state to the disk, whole or not at all, and is answered with
// CheckpointWritten. The shell releases the snapshot.
type WriteCheckpoint struct {
	Snapshot  *protocol.Snapshot
	Epoch     uint32
	EpochStep uint32
}

// LoadCheckpoint reads a checkpoint back, and is answered with CheckpointLoaded.
type LoadCheckpoint struct{ Checkpoint ledger.Checkpoint }

// RemoveCheckpoint deletes a checkpoint that is no longer needed.
type RemoveCheckpoint struct{ Checkpoint ledger.Checkpoint }

// Note is for the log.
type Note struct {
	Level   slog.Level
	Message string
	Args    []any // as slog takes them
}

func (Send) isEffect()             {}
func (Sum) isEffect()              {}
func (Stream) isEffect()           {}
func (Abandon) isEffect()          {}
func (WriteMetrics) isEffect()     {}
func (WriteRecord) isEffect()      {}
func (StepClosed) isEffect()       {}
func (AggregateDropped) isEffect() {}
func (Commit) isEffect()           {}
func (WriteCheckpoint) isEffect()  {}
func (LoadCheckpoint) isEffect()   {}
func (RemoveCheckpoint) isEffect() {}
func (Note) isEffect()             {}
