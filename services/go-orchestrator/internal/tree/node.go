// Package tree adds the gradients of a step in one fixed binary tree over the shard numbers, so
// that the sum has the same bits whoever computed which shards, and in whatever order they arrive.
package tree

import (
	"fmt"
	"math/bits"
)

// Node is a range of shards [First, First+Count) that is a node of the tree: Count is a power of
// two that divides First.
type Node struct{ First, Count uint32 }

// Check says why the range is not a node of a tree over that many shards.
func (n Node) Check(shards uint32) error {
	switch {
	case n.Count == 0 || bits.OnesCount32(n.Count) != 1:
		return fmt.Errorf("%d shards are not a node of the tree; the count must be a power of two", n.Count)
	case n.First%n.Count != 0:
		return fmt.Errorf("shards %d to %d are not a node of the tree; the count must divide the first shard", n.First,
			uint64(n.First)+uint64(n.Count)-1)
	case uint64(n.First)+uint64(n.Count) > uint64(shards):
		return fmt.Errorf("shards %d to %d are not all in a step of %d shards", n.First, uint64(n.First)+uint64(n.Count)-1,
			shards)
	}
	return nil
}

// String gives the shards as people write them.
func (n Node) String() string {
	if n.Count == 1 {
		return fmt.Sprintf("shard %d", n.First)
	}
	return fmt.Sprintf("shards %d-%d", n.First, n.First+n.Count-1)
}

// parent is the node above.
func (n Node) parent() Node { return Node{n.First &^ (2*n.Count - 1), 2 * n.Count} }

// sibling is the other child of the parent.
func (n Node) sibling() Node { return Node{n.First ^ n.Count, n.Count} }

// left says whether n is the first child of its parent: the left operand of the sum.
func (n Node) left() bool { return n.First&n.Count == 0 }

// Cover cuts ascending shards into the fewest nodes: what a worker that holds these shards submits.
func Cover(shards []uint32) []Node {
	var nodes []Node
	for _, shard := range shards {
		node := Node{shard, 1}
		for len(nodes) > 0 && !node.left() && nodes[len(nodes)-1] == node.sibling() {
			nodes, node = nodes[:len(nodes)-1], node.parent()
		}
		nodes = append(nodes, node)
	}
	return nodes
}
