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
