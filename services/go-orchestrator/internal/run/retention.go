package run

import (
	"slices"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/tree"
)

// Aggregates that are kept for workers that lag behind: these steps always, more while there is
// memory (Config.KeepBytes), so that a worker that loads a snapshot while short steps are closed
// can catch up.
const (
	keepAtLeast = 2
	keepAtMost  = 4_096
)

// retention is what can still be handed out to workers that are behind the open step: aggregates, a
// worker's snapshot, checkpoints. The ledger holds hashes only, so what none of these and no worker
// holds has to be computed again.
type retention struct {
	// Aggregates of the last closed steps, ascending and without a gap up to the open step, so that a
	// worker that can be given one can be given all that follow. A replay that begins elsewhere drops
	// them all.
	aggregates []*protocol.Aggregate
	// Who sent what of the last closed steps: a late result is still compared with the one that
	// counted.
	recent []closedStep

	// The state that is being handed out, one hold on it; its hash is that of the run.
	snapshot  *protocol.Snapshot
	givenBy   uint32        // the worker whose state it is; 0 for a checkpoint
	proven    protocol.Hash // of the last state that a worker has loaded
	donor     *worker       // has been asked for its state and has not sent it yet: one at a time
	donations lateness      // how long workers took to send their state
	// The last state arrived when the aggregates since then were dropped already: until one is of use,
	// the donor gets no other work, so that the run cannot outpace it.
	outpaced bool

	checkpoints []ledger.Checkpoint // those on the disk, ascending by step
	// One is being read: nothing else is decided about where to continue until it is there.
	loading bool
	saving  saving
}

// closedStep is who sent what of a step that is closed.
type closedStep struct {
	number        uint64
	contributions []*tree.Contribution
}

// aggregate returns the one of a step, or nil where it is not kept.
func (r *retention) aggregate(step uint64) *protocol.Aggregate {
	if len(r.aggregates) == 0 || step < r.aggregates[0].Step || step-r.aggregates[0].Step >= uint64(len(r.aggregates)) {
		return nil
	}
	return r.aggregates[step-r.aggregates[0].Step]
}

// closed keeps what a step that has just been closed leaves behind.
func (r *retention) closed(aggregate *protocol.Aggregate, contributions []*tree.Contribution) {
	r.aggregates = append(r.aggregates, aggregate)
	r.recent = append(r.recent, closedStep{aggregate.Step, contributions})
	r.recent = r.recent[max(0, len(r.recent)-keepAtLeast):]
}

// dropOldest returns the step whose aggregate it dropped.
func (r *retention) dropOldest() uint64 {
	oldest := r.aggregates[0]
	r.aggregates = r.aggregates[1:]
	oldest.Gradients.Release()
	return oldest.Step
}

// contradicted returns the contribution to a closed step that an update of the same shards differs
// from, or nil.
func (r *retention) contradicted(u *protocol.Update) *tree.Contribution {
	for _, step := range r.recent {
		for _, c := range step.contributions {
			if step.number == u.Step && c.Node.First == u.FirstShard && c.Node.Count == u.ShardCount && u.Refusal == "" &&
				!c.SameResult(result(u)) {
				return c
			}
		}
	}
	return nil
}

// keep takes over a snapshot, in place of the one before.
func (r *retention) keep(s *protocol.Snapshot, givenBy uint32) {
	r.dropSnapshot()
	r.snapshot, r.givenBy, r.outpaced = s, givenBy, false
}

// provenState notes that a worker has loaded a state.
func (r *retention) provenState(hash protocol.Hash) { r.proven = hash }

func (r *retention) dropSnapshot() {
	if r.snapshot != nil {
		r.snapshot.Release()
		r.snapshot = nil
	}
}

func (r *retention) newestCheckpoint() *ledger.Checkpoint {
	if len(r.checkpoints) == 0 {
		return nil
	}
	return &r.checkpoints[len(r.checkpoints)-1]
}

// newestCheckpointStep is 0 where there is no checkpoint: every script can begin with the initial
// parameters.
func (r *retention) newestCheckpointStep() uint64 {
	if newest := r.newestCheckpoint(); newest != nil {
		return newest.Step
	}
	return 0
}

// addCheckpoint takes a checkpoint that is on the disk. After the run went back to a step, its
// checkpoint may be written again, into the same file: the file must have one entry, because
// removing the file for an older entry would delete the newer checkpoint.
func (r *retention) addCheckpoint(c ledger.Checkpoint) {
	r.forget(c.File)
	r.checkpoints = append(r.checkpoints, c)
}

// forget drops a checkpoint that turned out to be unusable, so that the one before it is tried.
func (r *retention) forget(file string) {
	r.checkpoints = slices.DeleteFunc(r.checkpoints, func(c ledger.Checkpoint) bool { return c.File == file })
}

// checkpointNeeded reports whether a step is further than the newest checkpoint, on the disk or on
// its way there.
func (r *retention) checkpointNeeded(step uint64) bool {
	if r.saving.writing && r.saving.step >= step {
		return false
	}
	newest := r.newestCheckpoint()
	return newest == nil || newest.Step < step
}

// saving is how far the next checkpoint has got. One is written at a time.
type saving struct {
	wanted  bool // the next worker that holds the open step is to be asked for its state
	writing bool
	step    uint64    // of the one that is being written
	least   uint64    // the step that it was wanted for: an older state does not do
	at      time.Time // when the last one was wanted
	failure string    // why the last one could not be written; "" when it was
}

// want the next checkpoint, at a step or after it.
func (s *saving) want(step uint64) { s.wanted, s.least = true, step }

// due reports whether a worker is to be asked for its state now.
func (s *saving) due() bool { return s.wanted && !s.writing }
