package vector

import (
	"fmt"
	"unsafe"

	"pangea.example/pangea/services/go-orchestrator/internal/shared"
)

// Over returns a vector over whole elements of memory that is not the pool's, with one holder. free
// is called after the last Release. The memory must start at a multiple of 4 and stay until then;
// the vector may be read only, if the memory is.
func Over(memory []byte, free func()) (*Vector, error) {
	start := unsafe.Pointer(unsafe.SliceData(memory))
	if len(memory)%4 != 0 || uintptr(start)%4 != 0 {
		return nil, fmt.Errorf("%d bytes from address %#x on are not whole float32 elements", len(memory), uintptr(start))
	}
	v := &Vector{elements: len(memory) / 4, free: free}
	if v.elements > 0 {
		v.cut(memory)
	}
	return v.Retain(), nil
}

// cut makes the blocks views of memory.
func (v *Vector) cut(memory []byte) {
	// SAFETY: the memory is aligned to elements, which its length is a multiple of, and any bits are a
	// float32. It stays for as long as the vector has holders.
	rest := unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(memory))), v.elements)
	for len(rest) > 0 {
		block := rest[:min(len(rest), BlockElements)]
		v.blocks = append(v.blocks, block)
		rest = rest[len(block):]
	}
}

// Piece of this process's shared memory that the vector is in, so that others of the machine can
// read it; nil if it is in none.
func (v *Vector) Piece() *shared.Piece { return v.piece }

// IsForeign reports whether the memory is another's: it is wanted back soon.
func (v *Vector) IsForeign() bool { return v.free != nil }

// recycle gives the memory back.
func (v *Vector) recycle() {
	switch {
	case v.free != nil:
		v.free()
	case v.piece != nil:
		v.pool.arena.Put(v.piece)
		v.piece = nil
	default:
		v.pool.put(v.blocks)
	}
}

// Share makes New take its memory from regions that other processes can map. grown is that of
// shared.NewArena.
func (p *Pool) Share(grown func(mapped int64)) { p.arena = shared.NewArena(p.budget, grown) }

// inArena returns a vector in shared memory, with one holder, or nil where there is none, or no
// room for it.
func (p *Pool) inArena(elements int) *Vector {
	if p.arena == nil || elements == 0 {
		return nil
	}
	piece, err := p.arena.Take(int64(elements) * 4)
	if err != nil {
		return nil
	}
	go p.arena.Prepare() // for the next sum
	v := &Vector{elements: elements, pool: p, piece: piece}
	v.cut(piece.Bytes)
	return v.Retain()
}
