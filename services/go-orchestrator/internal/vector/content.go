package vector

import "pangea.example/pangea/services/go-orchestrator/internal/contenthash"

// This does not compile unless a block of a vector is a block of the content hash.
const (
	_ = uint(BlockElements*4 - contenthash.BlockBytes)
	_ = uint(contenthash.BlockBytes - BlockElements*4)
)

// RootOf combines the leaves of the vector's blocks to its content hash.
func (v *Vector) RootOf(leaves []contenthash.Leaf) [32]byte {
	return contenthash.Root(contenthash.Tensor{Bytes: uint64(v.elements) * 4, Leaves: leaves})
}
