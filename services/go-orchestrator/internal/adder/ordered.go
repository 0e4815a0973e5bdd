package adder

import (
	"crypto/sha256"
	"hash"
	"sync"

	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/vector"
)

// ordered computes the SHA-256 of a vector whose blocks become ready in any order. It has no
// goroutine of its own: whoever brings the block that is next hashes it, and those behind it that
// are ready by then, while the others add.
type ordered struct {
	vector *vector.Vector
	hasher hash.Hash
	mutex  sync.Mutex
	done   []bool // by block
	next   int    // block to be hashed
	busy   bool   // somebody hashes
}

func newOrdered(v *vector.Vector) *ordered {
	return &ordered{vector: v, hasher: sha256.New(), done: make([]bool, len(v.Blocks()))}
}

func (h *ordered) ready(block int) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.done[block] = true
	if h.busy {
		return
	}
	for h.busy = true; h.next < len(h.done) && h.done[h.next]; h.next++ {
		h.mutex.Unlock()
		h.hasher.Write(vector.Bytes(h.vector.Blocks()[h.next]))
		h.mutex.Lock()
	}
	h.busy = false
}

// sum of all blocks, once each of them was ready.
func (h *ordered) sum() protocol.Hash { return protocol.Hash(h.hasher.Sum(nil)) }
