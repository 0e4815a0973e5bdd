package adder

import (
	"unsafe"

	"pangea.example/pangea/services/go-orchestrator/internal/contenthash"
	"pangea.example/pangea/services/go-orchestrator/internal/tree"
	"pangea.example/pangea/services/go-orchestrator/internal/vector"
)

// partElements is how much of a block is added at once (64 KiB): it is still in the processor's
// cache when it is checked.
const partElements = 16 << 10

// evaluator is the memory that one goroutine needs to evaluate blocks.
type evaluator struct {
	temporaries [][]float32 // by depth in the tree
}

// evaluate adds up a block, and looks at what is to be looked at.
func (e *evaluator) evaluate(w *Work, block int) {
	out := w.out.Blocks()[block]
	w.notFinite[block] = -1
	for from := 0; from < len(out); from += partElements {
		to := min(from+partElements, len(out))
		operand := func(v *vector.Vector) []float32 { return v.Blocks()[block][from:to] }
		part := out[from:to]
		if only := e.value(w.sum, operand, part, 0); unsafe.SliceData(only) != unsafe.SliceData(part) {
			copy(part, only)
		}
		if w.notFinite[block] < 0 {
			if at := vector.NotFinite(part); at >= 0 {
				w.notFinite[block] = from + at
			}
		}
	}
	// Whole blocks: to hash a part at a time, while it is in the nearest cache, takes twice as long,
	// since the library copies what it is given in parts.
	if w.leaves != nil {
		w.leaves[block] = contenthash.LeafOf(vector.Bytes(out))
	}
	for i, digest := range w.digests {
		if digest != nil {
			digest[block] = contenthash.LeafOf(vector.Bytes(w.sum.Operands[i].Gradients.Blocks()[block]))
		}
	}
}

// value returns a part of a sum: that of its only operand, or else it is computed into `into`.
func (e *evaluator) value(sum *tree.Sum, operand func(*vector.Vector) []float32, into []float32, depth int) []float32 {
	if len(sum.Operands) == 1 {
		return operand(sum.Operands[0].Gradients)
	}
	left, right := sum.Halves()
	if len(left.Operands) == 2 && len(right.Operands) == 2 {
		// Two additions of pairs and that of their sums in one pass: nothing goes through memory between.
		vector.AddFour(into, operand(left.Operands[0].Gradients), operand(left.Operands[1].Gradients),
			operand(right.Operands[0].Gradients), operand(right.Operands[1].Gradients))
		return into
	}
	l := e.value(&left, operand, into, depth)
	r := e.value(&right, operand, e.temporary(depth)[:len(into)], depth+1)
	vector.Add(into, l, r)
	return into
}

// temporary is for the right operand at a depth; the left one is computed where its sum will be.
func (e *evaluator) temporary(depth int) []float32 {
	for len(e.temporaries) <= depth {
		e.temporaries = append(e.temporaries, make([]float32, partElements))
	}
	return e.temporaries[depth]
}
