package run

import (
	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/tree"
)

// Peer identifies a connection. The shell never reuses a number, so an event that is late can only
// name a connection that is gone.
type Peer uint64

// Event is something that happened outside: one of the types below.
type Event interface{ isEvent() }

// JoinRequested is a worker's JoinRequest.
type JoinRequested struct {
	Peer    Peer
	Request uint64
	Join    protocol.Join
	// The worker that the connection's certificate is of, or AnyWorker; "" where there is none.
	Certificate string
}

// AnyWorker in a certificate admits a worker under any name.
const AnyWorker = "*"

// WorkRequested is a worker's WorkRequest.
type WorkRequested struct {
	Peer    Peer
	Request uint64
	Work    protocol.Work
}

// UpdateReceived is a worker's complete GradientUpdate. The machine releases its vector.
type UpdateReceived struct {
	Peer    Peer
	Request uint64
	Update  protocol.Update
}

// SnapshotReceived is a worker's complete state. The machine releases it.
type SnapshotReceived struct {
	Peer     Peer
	Request  uint64
	Snapshot *protocol.Snapshot
	// Why the parameters in it are not those that its hash says, as its receiver found; "" if they
	// are.
	Wrong string
}

// LeaveRequested is a worker's Leave.
type LeaveRequested struct {
	Peer    Peer
	Request uint64
	Leave   protocol.Leave
}

// PeerDisconnected reports that a connection is closed; nothing can be sent to it any more.
type PeerDisconnected struct {
	Peer   Peer
	Reason string
}

// PeerSeen reports that something arrived from a peer, even if only a heartbeat. Every other event
// of a peer implies it.
type PeerSeen struct{ Peer Peer }

// Tick reports that time has passed. It must be sent several times a second: silence, lateness and
// deadlines are noticed only then.
type Tick struct{}

// Summed answers Sum. The machine takes over the hold on the sum.
type Summed struct {
	Generation uint64 // as in the Sum
	tree.Result
}

// CheckpointWritten answers WriteCheckpoint.
type CheckpointWritten struct {
	Checkpoint ledger.Checkpoint
	Err        error
}

// CheckpointLoaded answers LoadCheckpoint. The machine releases the snapshot, which is nil after an
// error.
type CheckpointLoaded struct {
	Checkpoint ledger.Checkpoint
	Snapshot   *protocol.Snapshot
	Err        error
}

// StopRequested asks for the end of the process: after a last checkpoint if one can be taken (see
// Machine.Saving), or at once.
type StopRequested struct {
	Reason string
	AtOnce bool
}

// CheckpointRequested asks for a checkpoint now, on behalf of a person; the run continues.
type CheckpointRequested struct{ Reason string }

func (JoinRequested) isEvent()       {}
func (WorkRequested) isEvent()       {}
func (UpdateReceived) isEvent()      {}
func (SnapshotReceived) isEvent()    {}
func (LeaveRequested) isEvent()      {}
func (PeerDisconnected) isEvent()    {}
func (PeerSeen) isEvent()            {}
func (Tick) isEvent()                {}
func (Summed) isEvent()              {}
func (CheckpointWritten) isEvent()   {}
func (CheckpointLoaded) isEvent()    {}
func (StopRequested) isEvent()       {}
func (CheckpointRequested) isEvent() {}
