package vector

import "pangea.example/pangea/services/go-orchestrator/internal/contenthash"

// Digest tells whether two vectors have the same bits. It is their content hash (xxh3Tree), which a
// worker can say of gradients that it has in shared memory.
type Digest [32]byte

// BlockDigest is a block's part of a digest.
type BlockDigest = contenthash.Leaf

// Equal reports whether the digests are those of the same bits.
func (d Digest) Equal(other Digest) bool { return d == other }

// Digest of the vector.
func (v *Vector) Digest() Digest {
	blocks := make([]BlockDigest, len(v.blocks))
	for i, block := range v.blocks {
		blocks[i] = contenthash.LeafOf(Bytes(block))
	}
	return v.RootOf(blocks)
}

// DigestHasher makes the digest of one block after the other from elements that are written in
// order, in parts that are still in the processor's cache. The zero value is ready to use.
type DigestHasher struct{ hasher contenthash.LeafHasher }

// Write adds the elements that follow.
func (h *DigestHasher) Write(part []float32) { h.hasher.Write(Bytes(part)) }

// Block returns the digest of the block that was written, and begins the next one.
func (h *DigestHasher) Block() BlockDigest { return h.hasher.Leaf() }
