package vector

import (
	"hash/maphash"
	"slices"
)

// Digest tells whether two vectors have the same bits. Each process seeds it differently: compare
// it, never store it.
type Digest []uint64

// Equal reports whether the digests are those of the same bits.
func (d Digest) Equal(other Digest) bool { return slices.Equal(d, other) }

var digestSeed = maphash.MakeSeed()

// Digest of a vector.
func (v *Vector) Digest() Digest {
	digest := make(Digest, len(v.blocks))
	for i, elements := range v.blocks {
		var block BlockDigest
		block.Write(elements)
		digest[i] = block.Sum()
	}
	return digest
}

// BlockDigest is the digest of one block, whose elements are written in order, in parts that are
// still in the processor's cache. The zero value is ready to use.
type BlockDigest struct {
	hash    maphash.Hash
	started bool
}

// Write adds the elements that follow.
func (d *BlockDigest) Write(part []float32) {
	if !d.started {
		d.hash.SetSeed(digestSeed)
		d.started = true
	}
	_, _ = d.hash.Write(Bytes(part)) // never fails
}

// Sum is this block's part of a Digest.
func (d *BlockDigest) Sum() uint64 { return d.hash.Sum64() }
