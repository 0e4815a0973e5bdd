//go:build amd64 || arm64 || riscv64 || loong64 || ppc64le

// Package vector holds model-sized float32 vectors in pooled blocks: memory is taken as bytes
// arrive, is reused from step to step, and goes to sockets without a copy. The build tag lists
// little-endian machines, because the wire's elements are little-endian and are viewed in place.
package vector

import (
	"sync/atomic"
	"unsafe"

	"pangea.example/pangea/services/go-orchestrator/internal/shared"
)

// BlockElements is how many elements a block holds (4 MiB: the most tensor bytes in one frame). The
// last block of a vector is as short as the vector needs.
const BlockElements = 1 << 20

// Vector is a flat float32 vector that several holders share. New ones come from Pool.Build.
type Vector struct {
	blocks   [][]float32
	elements int
	pool     *Pool
	piece    *shared.Piece // that the blocks are views of; nil if they are memory of this process alone
	free     func()        // of memory that is not the pool's
	holders  atomic.Int32
}

// Elements in the vector.
func (v *Vector) Elements() int { return v.elements }

// Blocks returns the memory itself. Only a sole holder may write to it.
func (v *Vector) Blocks() [][]float32 { return v.blocks }

// Retain adds a holder.
func (v *Vector) Retain() *Vector {
	v.holders.Add(1)
	return v
}

// Release drops a holder; after the last one the memory goes back to where it is from.
func (v *Vector) Release() {
	switch left := v.holders.Add(-1); {
	case left == 0:
		v.recycle()
		v.blocks = nil
	case left < 0:
		panic("vector: released more often than retained")
	}
}

// FirstNotFinite returns the position and the value of the first NaN or Inf; the position is -1 if
// there is none.
func (v *Vector) FirstNotFinite() (position int, value float32) {
	for i, block := range v.blocks {
		if at := NotFinite(block); at >= 0 {
			return i*BlockElements + at, block[at]
		}
	}
	return -1, 0
}

// At returns an element.
func (v *Vector) At(position int) float32 {
	return v.blocks[position/BlockElements][position%BlockElements]
}

// Bytes views floats as the bytes that travel.
func Bytes(floats []float32) []byte {
	if len(floats) == 0 {
		return nil
	}
	// SAFETY: a float32 has 4 bytes without padding, any alignment of bytes is fine, and the view has
	// the length of its source.
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(floats))), len(floats)*4)
}
