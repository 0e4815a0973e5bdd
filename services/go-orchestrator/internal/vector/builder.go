package vector

import (
	"fmt"

	"pangea.example/pangea/services/go-orchestrator/internal/contenthash"
)

// Builder fills a vector from bytes in order, taking a block from the pool only when bytes for it
// have arrived.
type Builder struct {
	vector *Vector
	digest []contenthash.Leaf
	open   BlockDigest // of the block that is being filled
	filled int         // elements
}

// Build starts a vector of that many elements.
func (p *Pool) Build(elements int) *Builder {
	return &Builder{vector: &Vector{elements: elements, pool: p}}
}

// NotFiniteError is the error of Write for a NaN or an Inf.
type NotFiniteError struct {
	Position int // in the vector
	Value    float32
}

// Error names position and value.
func (e *NotFiniteError) Error() string { return fmt.Sprintf("element %d is %v", e.Position, e.Value) }

// Write appends whole elements. It fails on NaN and Inf (*NotFiniteError), when the vector is full,
// and when the pool's budget is spent; after that the builder can only be discarded.
func (b *Builder) Write(data []byte) error {
	if len(data)%4 != 0 {
		return fmt.Errorf("%d bytes are not whole float32 elements", len(data))
	}
	if len(data)/4 > b.vector.elements-b.filled {
		return fmt.Errorf("%d elements more than the vector has", len(data)/4-(b.vector.elements-b.filled))
	}
	for len(data) > 0 {
		at := b.filled % BlockElements
		if at == 0 {
			block, err := b.vector.pool.take(min(BlockElements, b.vector.elements-b.filled))
			if err != nil {
				return err
			}
			b.vector.blocks = append(b.vector.blocks, block)
		}
		block := b.vector.blocks[len(b.vector.blocks)-1]
		// A part of this size is still in the processor's cache when it is checked after it was copied.
		part := block[at:min(len(block), at+16<<10)]
		part = part[:copy(Bytes(part), data)/4]
		if bad := NotFinite(part); bad >= 0 {
			return &NotFiniteError{b.filled + bad, part[bad]}
		}
		b.open.Write(part)
		data = data[len(part)*4:]
		b.filled += len(part)
		if at+len(part) == len(block) {
			b.digest = append(b.digest, b.open.Sum())
		}
	}
	return nil
}

// Filled is how many elements have arrived.
func (b *Builder) Filled() int { return b.filled }

// Finish returns the full vector, with one holder. It panics when elements are missing: the caller
// has counted them.
func (b *Builder) Finish() (*Vector, Digest) {
	if b.filled != b.vector.elements {
		panic("vector: finished before it was full")
	}
	vector := b.vector
	b.vector = nil
	return vector.Retain(), DigestOf(vector.elements, b.digest)
}

// Discard returns the blocks to the pool.
func (b *Builder) Discard() {
	if b.vector != nil {
		b.vector.pool.put(b.vector.blocks)
		b.vector = nil
	}
}
