package contenthash

import (
	"crypto/sha256"
	"encoding/binary"
)

// Tensor is what the root covers of one tensor.
type Tensor struct {
	Bytes  uint64
	Leaves []Leaf // in the order of the blocks
}

// Root combines the leaves of tensors, in their order, to the content hash.
func Root(tensors ...Tensor) [32]byte {
	root := sha256.New()
	root.Write([]byte("pangea/content/1\x00"))
	for _, t := range tensors {
		root.Write(binary.LittleEndian.AppendUint64(nil, t.Bytes))
		for _, leaf := range t.Leaves {
			root.Write(leaf[:])
		}
	}
	return [32]byte(root.Sum(nil))
}
