package run

import (
	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// Peer identifies a connection. The shell never uses a number again.
type Peer uint64

// Event is something that happened outside: one of the types below.
type Event interface{ isEvent() }

// JoinAsked is a worker's JoinRequest.
type JoinAsked struct {
	Peer    Peer
	Request uint64
	Join    protocol.Join
}

// WorkAsked is a worker's WorkRequest.
type WorkAsked struct {
	Peer    Peer
	Request uint64
	Work    protocol.Work
}

// UpdateCame is a worker's whole GradientUpdate. The machine releases its vector.
type UpdateCame struct {
	Peer    Peer
	Request uint64
	Update  protocol.Update
}

// SnapshotCame is a worker's whole state. The machine releases it.
type SnapshotCame struct {
	Peer     Peer
	Request  uint64
	Snapshot *protocol.Snapshot
}

// LeaveAsked is a worker's Leave.
type LeaveAsked struct {
	Peer    Peer
	Request uint64
	Leave   protocol.Leave
}

// PeerGone says that a connection is closed; nothing can be sent to it any more.
type PeerGone struct {
	Peer   Peer
	Reason string
}

// Heard says that a peer has sent something, if only a heartbeat. Every other event of a peer says so as well.
type Heard struct{ Peer Peer }

// Tick says that time has passed. It has to come several times a second.
type Tick struct{}

// CheckpointWritten answers WriteCheckpoint.
type CheckpointWritten struct {
	Checkpoint ledger.Checkpoint
	Err        error
}

// CheckpointLoaded answers LoadCheckpoint. The machine releases the snapshot, which is nil after an error.
type CheckpointLoaded struct {
	Checkpoint ledger.Checkpoint
	Snapshot   *protocol.Snapshot
	Err        error
}

// StopAsked says that the process is to end: after a last checkpoint if one can be had (see Machine.Ending), or at once.
type StopAsked struct {
	Reason string
	AtOnce bool
}

// CheckpointAsked says that a person wants a checkpoint now; the run goes on.
type CheckpointAsked struct{ Reason string }

func (CheckpointAsked) isEvent()   {}
func (JoinAsked) isEvent()         {}
func (WorkAsked) isEvent()         {}
func (UpdateCame) isEvent()        {}
func (SnapshotCame) isEvent()      {}
func (LeaveAsked) isEvent()        {}
func (PeerGone) isEvent()          {}
func (StopAsked) isEvent()         {}
func (Heard) isEvent()             {}
func (Tick) isEvent()              {}
func (CheckpointWritten) isEvent() {}
func (CheckpointLoaded) isEvent()  {}
