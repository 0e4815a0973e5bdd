package vector

import (
	"crypto/sha256"

	"pangea.example/pangea/services/go-orchestrator/internal/contenthash"
)

// This does not compile unless a block of a vector is a block of the content hash.
const (
	_ = uint(BlockElements*4 - contenthash.BlockBytes)
	_ = uint(contenthash.BlockBytes - BlockElements*4)
)

// ContentHash hashes the vector as one tensor.
func (v *Vector) ContentHash(method contenthash.Method) [32]byte {
	if method == contenthash.SHA256 {
		sum := sha256.New()
		for _, block := range v.blocks {
			sum.Write(Bytes(block))
		}
		return [32]byte(sum.Sum(nil))
	}
	leaves := make([]contenthash.Leaf, len(v.blocks))
	for i, block := range v.blocks {
		leaves[i] = contenthash.LeafOf(Bytes(block))
	}
	return v.RootOf(leaves)
}

// RootOf combines the leaves of the vector's blocks to its content hash.
func (v *Vector) RootOf(leaves []contenthash.Leaf) [32]byte {
	return contenthash.Root(contenthash.Tensor{Bytes: uint64(v.elements) * 4, Leaves: leaves})
}
