package tree

import (
	"pangea.example/pangea/services/go-orchestrator/internal/contenthash"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/vector"
)

// Sum is a node of the tree that can be added up: all of its shards are there. It is a description;
// whoever evaluates it adds in the order of the tree, reads the operands and never writes to them.
type Sum struct {
	Node     Node
	Operands []Operand // ascending; together they are the node
	Whole    bool      // it is over all shards of the step, and is to be hashed
	Method   contenthash.Method
}

// Operand is a vector that a sum reads: a contribution, or a sum of several that was made before.
type Operand struct {
	Node      Node
	Gradients *vector.Vector
	// The contribution whose bits nobody has looked at since it was submitted; nil where they were
	// checked as they arrived.
	Unchecked *Contribution
}

// Retain adds a holder to each operand.
func (s *Sum) Retain() *Sum {
	for _, operand := range s.Operands {
		operand.Gradients.Retain()
	}
	return s
}

// Release drops the holders of Retain.
func (s *Sum) Release() {
	for _, operand := range s.Operands {
		operand.Gradients.Release()
	}
}

// Halves cuts a sum of several operands into the sums of its left and its right child.
func (s *Sum) Halves() (left, right Sum) {
	half := s.Node.Count / 2
	left.Node, right.Node = Node{s.Node.First, half}, Node{s.Node.First + half, half}
	cut := 0
	for cut < len(s.Operands) && s.Operands[cut].Node.First < right.Node.First {
		cut++
	}
	left.Operands, right.Operands = s.Operands[:cut], s.Operands[cut:]
	return left, right
}

// Result is what came of a Sum.
type Result struct {
	Node Node
	Sum  *vector.Vector // one hold on it
	Hash protocol.Hash  // of a sum over all shards
	// The first element of the sum that is NaN or Inf, or -1.
	NotFinite int
	Wrong     []Wrong // unchecked operands that must not have a part in it
}

// Wrong is an unchecked contribution whose memory does not hold what can be added.
type Wrong struct {
	Contribution *Contribution
	Rewritten    bool    // its bits are not those of its digest
	NotFinite    int     // its first element that is NaN or Inf, or -1
	Value        float32 // of that element
}
