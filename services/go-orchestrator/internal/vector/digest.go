package vector

import (
	"crypto/rand"
	"encoding/binary"
	"slices"

	"github.com/zeebo/xxh3"
)

// Digest tells whether two vectors have the same bits: it has one part for each block. Each process
// seeds it differently, so that nobody can look for other gradients with an equal one: compare it,
// never store it.
type Digest []BlockDigest

// BlockDigest is that of a block.
type BlockDigest [16]byte

// Equal reports whether the digests are those of the same bits.
func (d Digest) Equal(other Digest) bool { return slices.Equal(d, other) }

var digestSeed = func() uint64 {
	var seed [8]byte
	_, _ = rand.Read(seed[:]) // it never fails
	return binary.LittleEndian.Uint64(seed[:])
}()

// DigestOf hashes a whole block of a vector: in any order of blocks, on any goroutine.
func DigestOf(block []float32) BlockDigest { return xxh3.Hash128Seed(Bytes(block), digestSeed).Bytes() }

// Digest of the vector.
func (v *Vector) Digest() Digest {
	digest := make(Digest, len(v.blocks))
	for i, block := range v.blocks {
		digest[i] = DigestOf(block)
	}
	return digest
}

// DigestHasher makes the digest of one block after the other from elements that are written in
// order, in parts that are still in the processor's cache. The zero value is ready to use.
type DigestHasher struct{ state *xxh3.Hasher }

// Write adds the elements that follow.
func (h *DigestHasher) Write(part []float32) {
	if h.state == nil {
		h.state = xxh3.NewSeed(digestSeed)
	}
	_, _ = h.state.Write(Bytes(part)) // it never fails
}

// Block returns the digest of the block that was written, and begins the next one.
func (h *DigestHasher) Block() BlockDigest {
	defer h.state.Reset()
	return h.state.Sum128().Bytes()
}
