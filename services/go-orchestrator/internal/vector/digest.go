package vector

import "pangea.example/pangea/services/go-orchestrator/internal/contenthash"

// This does not compile unless a block of a vector is a block of the content hash.
const (
	_ = uint(BlockElements*4 - contenthash.BlockBytes)
	_ = uint(contenthash.BlockBytes - BlockElements*4)
)

// Digest tells whether two vectors have the same bits. It is their content hash (xxh3Tree), which a
// worker can say of gradients that it has in shared memory.
type Digest [32]byte

// Equal reports whether the digests are those of the same bits.
func (d Digest) Equal(other Digest) bool { return d == other }

// DigestOf combines the digests of the blocks of a vector of that many elements.
func DigestOf(elements int, blocks []contenthash.Leaf) Digest {
	return contenthash.Root(contenthash.Tensor{Bytes: uint64(elements) * 4, Leaves: blocks})
}

// Digest of a vector.
func (v *Vector) Digest() Digest {
	blocks := make([]contenthash.Leaf, len(v.blocks))
	for i, elements := range v.blocks {
		blocks[i] = contenthash.LeafOf(Bytes(elements))
	}
	return DigestOf(v.elements, blocks)
}

// BlockDigest is the digest of one block, whose elements are written in order, in parts that are
// still in the processor's cache. The zero value is ready to use.
type BlockDigest struct{ hasher contenthash.LeafHasher }

// Write adds the elements that follow.
func (d *BlockDigest) Write(part []float32) { d.hasher.Write(Bytes(part)) }

// Sum is this block's part of a Digest. The next Write begins another block.
func (d *BlockDigest) Sum() contenthash.Leaf { return d.hasher.Leaf() }
