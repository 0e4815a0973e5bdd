package adder

import (
	"unsafe"

	"pangea.example/pangea/services/go-orchestrator/internal/contenthash"
	"pangea.example/pangea/services/go-orchestrator/internal/tree"
	"pangea.example/pangea/services/go-orchestrator/internal/vector"
)

// partElements is how much of a block is added and hashed at once (32 KiB): with the operands of
// the next part, which are fetched meanwhile, it fits into the second-level cache of a core.
const partElements = 8 << 10

// evaluator is the memory that one goroutine needs to evaluate blocks.
type evaluator struct {
	temporaries [][]float32           // by depth in the tree
	sum         contenthash.Partial   // of the block of the sum
	operands    []contenthash.Partial // of those of the operands
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
		e.hash(w, block, to)
	}
	e.finish(w, block)
}

// hash looks at what was read and made of a block up to an element. While it does, the same of the
// operands' next part is fetched: each of those that are hashed after its own last part, one that
// is not after that of the sum.
func (e *evaluator) hash(w *Work, block, to int) {
	for len(e.operands) < len(w.digests) {
		e.operands = append(e.operands, contenthash.Partial{})
	}
	var other []byte
	for i, digest := range w.digests {
		data := vector.Bytes(w.sum.Operands[i].Gradients.Blocks()[block])
		if digest != nil {
			e.operands[i].Reach(data, 4*to, data[4*to:])
		} else {
			other = data[4*to:]
		}
	}
	if w.leaves != nil {
		e.sum.Reach(vector.Bytes(w.out.Blocks()[block]), 4*to, other)
	}
}

// finish keeps the hashes of a block.
func (e *evaluator) finish(w *Work, block int) {
	for i, digest := range w.digests {
		if digest != nil {
			digest[block] = e.operands[i].Leaf(vector.Bytes(w.sum.Operands[i].Gradients.Blocks()[block]))
		}
	}
	if w.leaves != nil {
		w.leaves[block] = e.sum.Leaf(vector.Bytes(w.out.Blocks()[block]))
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
