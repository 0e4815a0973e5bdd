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

// DigestOf hashes a whole block of a vector. Blocks may be hashed in any order and by any goroutine.
func DigestOf(block []float32) BlockDigest { return xxh3.Hash128Seed(Bytes(block), digestSeed).Bytes() }
