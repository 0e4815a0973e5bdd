// Package contenthash computes the content hash of tensors, as schemas/tensor.capnp defines it
// (ContentHash): it finds faulty hardware, nondeterminism and bugs, and does not protect against
// people. Blocks are hashed independently of each other, so any goroutine may hash any block, in
// any order, while the block is in its cache; Root combines them.
package contenthash

import (
	"github.com/zeebo/xxh3"

	"pangea.example/pangea/schemas/tensor"
)

// BlockBytes is how many bytes of a tensor a leaf covers; only the last block is shorter.
const BlockBytes = int(tensor.ContentHashBlockBytes)

// Leaf is the hash of one block.
type Leaf [16]byte

// LeafOf hashes a block of at most BlockBytes.
func LeafOf(block []byte) Leaf { return xxh3.Hash128(block).Bytes() }

// Leaves hashes all blocks of a tensor.
func Leaves(data []byte) []Leaf {
	leaves := make([]Leaf, 0, (len(data)+BlockBytes-1)/BlockBytes)
	for len(data) > 0 {
		block := data[:min(len(data), BlockBytes)]
		leaves = append(leaves, LeafOf(block))
		data = data[len(block):]
	}
	return leaves
}
