package run

import (
	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// Peer identifies a connection. The shell never uses a number again.
type Peer uint64

// Event is something that happened outside: one of the types below.
type Event interface{ isEvent() }

// JoinRequested is a worker's JoinRequest.
type JoinRequested struct {
	Peer    Peer
	Request uint64
	Join    protocol.Join
}

// WorkRequested is a worker's WorkRequest.
type WorkRequested struct {
	Peer    Peer
	Request uint64
	Work    protocol.Work
}

// UpdateReceived is a worker's whole GradientUpdate. The machine releases its vector.
type UpdateReceived struct {
	Peer    Peer
	Request uint64
	Update  protocol.Update
}

// SnapshotReceived is a worker's whole state. The machine releases it.
type SnapshotReceived struct {
	Peer     Peer
	Request  uint64
	Snapshot *protocol.Snapshot
}

// LeaveRequested is a worker's Leave.
type LeaveRequested struct {
	Peer    Peer
	Request uint64
	Leave   protocol.Leave
}

// PeerDisconnected says that a connection is closed; nothing can be sent to it any more.
type PeerDisconnected struct {
	Peer   Peer
	Reason string
}

// PeerSeen says that a peer has sent something, if only a heartbeat. Every other event of a peer says so as well.
type PeerSeen struct{ Peer Peer }

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

// StopRequested says that the process is to end: after a last checkpoint if one can be had (see Machine.Ending), or at once.
type StopRequested struct {
	Reason string
	AtOnce bool
}

// CheckpointRequested says that a person wants a checkpoint now; the run goes on.
type CheckpointRequested struct{ Reason string }

func (CheckpointRequested) isEvent() {}
func (JoinRequested) isEvent()       {}
func (WorkRequested) isEvent()       {}
func (UpdateReceived) isEvent()      {}
func (SnapshotReceived) isEvent()    {}
func (LeaveRequested) isEvent()      {}
func (PeerDisconnected) isEvent()    {}
func (StopRequested) isEvent()       {}
func (PeerSeen) isEvent()            {}
func (Tick) isEvent()                {}
func (CheckpointWritten) isEvent()   {}
func (CheckpointLoaded) isEvent()    {}
