package protocol

import (
	"sync/atomic"

	"pangea.example/pangea/services/go-orchestrator/internal/vector"
)

// Update is a complete gradient update, assembled from its frames.
type Update struct {
	Step       uint64
	FirstShard uint32
	ShardCount uint32
	Gradients  *vector.Vector // the receiver of the Update releases it; nil when Refusal is set
	Digest     vector.Digest
	// The gradients lie in memory that nobody has looked at: Digest is what the worker says, and there
	// may be NaN or Inf.
	Unchecked bool
	Reports   []Report
	Refusal   string // why the pieces are not a gradient of this model; empty when they are
	NotFinite bool   // because one of them has NaN or Inf
}

// Aggregate is the gradient sum over all shards of a step.
type Aggregate struct {
	Step    uint64
	Samples uint64
	LossSum float64
	// By which the gradients are divided to give the gradient of the step's loss; 0 where nothing
	// counted.
	Divisor   float64
	Gradients *vector.Vector // one hold on them
	Hash      Hash           // the content hash of the gradients
}

// Kind names the message.
func (*Aggregate) Kind() Kind { return KindAggregate }

// Snapshot is the complete state of a worker after Step steps: the bytes of a safetensors file, in
// blocks. Several holders share it.
type Snapshot struct {
	Step           uint64
	ParametersHash Hash
	Blocks         [][]byte
	TotalBytes     uint64
	Hash           Hash

	holders atomic.Int32
	free    func()
}

// NewSnapshot has one holder. free returns the memory to the budget that counts it; it is called
// after the last Release.
func NewSnapshot(step uint64, parametersHash Hash, blocks [][]byte, totalBytes uint64, hash Hash,
	free func()) *Snapshot {
	s := &Snapshot{Step: step, ParametersHash: parametersHash, Blocks: blocks, TotalBytes: totalBytes, Hash: hash,
		free: free}
	s.holders.Store(1)
	return s
}

// Retain adds a holder.
func (s *Snapshot) Retain() *Snapshot {
	s.holders.Add(1)
	return s
}

// Release drops a holder.
func (s *Snapshot) Release() {
	if s.holders.Add(-1) == 0 {
		s.free()
	}
}

// Kind names the message.
func (*Snapshot) Kind() Kind { return KindSnapshot }
