package vector

import (
	"fmt"

	"pangea.example/pangea/services/go-orchestrator/internal/contenthash"
)

// Builder fills a vector from bytes in order, taking a block from the pool only when bytes for it
// have arrived, or are about to.
type Builder struct {
	vector *Vector
	digest []BlockDigest
	leaf   contenthash.Partial // of the block that is being filled
	filled int                 // elements
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
		block, err := b.block(b.filled / BlockElements)
		if err != nil {
			return err
		}
		// A part of this size is still in the processor's cache when it is checked after it was copied.
		part := block[at:min(len(block), at+16<<10)]
		part = part[:copy(Bytes(part), data)/4] // nothing is copied where Place has put it
		if bad := NotFinite(part); bad >= 0 {
			return &NotFiniteError{b.filled + bad, part[bad]}
		}
		data = data[len(part)*4:]
		b.filled += len(part)
		if end := at + len(part); end < len(block) {
			b.leaf.Reach(Bytes(block), 4*end, data)
		} else {
			b.digest = append(b.digest, b.leaf.Leaf(Bytes(block)))
		}
	}
	return nil
}

// block returns a block, and takes it from the pool if it is the next one.
func (b *Builder) block(i int) ([]float32, error) {
	if i == len(b.vector.blocks) {
		block, err := b.vector.pool.take(min(BlockElements, b.vector.elements-i*BlockElements))
		if err != nil {
			return nil, err
		}
		b.vector.blocks = append(b.vector.blocks, block)
	}
	return b.vector.blocks[i], nil
}

// Place returns the memory of the next elements, in pieces of these lengths in bytes, so that they
// can be read there. Write must then be given each of the pieces. It returns nil where that is not
// possible: where a piece would lie in two blocks, or is not whole elements, or there are more than
// the vector has.
func (b *Builder) Place(lengths []int64) ([][]byte, error) {
	if b.vector == nil {
		return nil, nil
	}
	var places [][]byte
	next := int64(b.filled)
	for _, bytes := range lengths {
		at, end := next%BlockElements, next%BlockElements+bytes/4
		if bytes%4 != 0 || end > BlockElements || next+bytes/4 > int64(b.vector.elements) {
			return nil, nil
		}
		block, err := b.block(int(next / BlockElements))
		if err != nil {
			return nil, err
		}
		places = append(places, Bytes(block[at:end]))
		next += bytes / 4
	}
	return places, nil
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
	return vector.Retain(), Digest(vector.RootOf(b.digest))
}

// Discard returns the blocks to the pool.
func (b *Builder) Discard() {
	if b.vector != nil {
		b.vector.pool.put(b.vector.blocks)
		b.vector = nil
	}
}
