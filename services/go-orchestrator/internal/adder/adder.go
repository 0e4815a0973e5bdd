// Package adder evaluates sums of package tree, block by block, with all cores. What has to be
// looked at besides (digests of operands, NaN and Inf, the hash of the sum) is done while a block
// is in the processor's cache: one pass over memory serves them all.
package adder

import (
	"runtime"
	"sync"
	"sync/atomic"

	"pangea.example/pangea/services/go-orchestrator/internal/contenthash"
	"pangea.example/pangea/services/go-orchestrator/internal/tree"
	"pangea.example/pangea/services/go-orchestrator/internal/vector"
)

// Adder evaluates sums. It is safe for use by several goroutines.
type Adder struct {
	pool  *vector.Pool
	cores int
	idle  sync.Pool // of *evaluator
}

// New makes an adder that uses all cores and takes the memory of sums from the pool.
func New(pool *vector.Pool) *Adder {
	return &Adder{pool: pool, cores: runtime.GOMAXPROCS(0), idle: sync.Pool{New: func() any { return &evaluator{} }}}
}

// Add evaluates a sum. It reads the operands, which the caller holds, and never writes to them: a
// sum of one operand is that operand, with one more holder, unless it is another process's memory.
func (a *Adder) Add(sum *tree.Sum) tree.Result { return a.Begin(sum).Finish() }

// Work is a sum that is being evaluated. Whoever has time takes the next block.
type Work struct {
	adder *Adder
	sum   *tree.Sum
	out   *vector.Vector
	next  atomic.Int64

	notFinite []int                  // by block: the first element of the sum that is not finite, or -1
	digests   [][]vector.BlockDigest // by operand: of those that have to be hashed, by block
	sha       *ordered               // of a sum over all shards, if it is hashed so
	leaves    []contenthash.Leaf     // the same, by block
	done      []chan struct{}        // by block: closed when it is evaluated
}

// Begin prepares a sum, which Finish evaluates.
func (a *Adder) Begin(sum *tree.Sum) *Work {
	w := &Work{adder: a, sum: sum}
	// Shared memory is wanted back by its worker, long before nobody needs the sum any more.
	if len(sum.Operands) == 1 && !sum.Operands[0].Gradients.IsForeign() {
		w.out = sum.Operands[0].Gradients.Retain()
	} else {
		w.out = a.pool.New(sum.Operands[0].Gradients.Elements())
	}
	w.notFinite = make([]int, w.blocks())
	switch {
	case !sum.Whole:
	case sum.Method == contenthash.SHA256:
		w.sha = newOrdered(w.out)
	default:
		w.leaves = make([]contenthash.Leaf, w.blocks())
	}
	w.digests = make([][]vector.BlockDigest, len(sum.Operands))
	for i, operand := range sum.Operands {
		if operand.Unchecked != nil && !w.isHashed() {
			w.digests[i] = make([]vector.BlockDigest, w.blocks())
		}
	}
	w.done = make([]chan struct{}, w.blocks())
	for i := range w.done {
		w.done[i] = make(chan struct{})
	}
	return w
}

// isHashed reports whether the hash of the sum is also that of its only operand.
func (w *Work) isHashed() bool { return w.leaves != nil && len(w.sum.Operands) == 1 }

// Sum is where the sum is made. A block of it may be read once it is Done.
func (w *Work) Sum() *vector.Vector { return w.out }

// Done is closed when a block is evaluated.
func (w *Work) Done(block int) <-chan struct{} { return w.done[block] }

// Finish evaluates the sum with all cores.
func (w *Work) Finish() tree.Result {
	var others sync.WaitGroup
	for range min(w.adder.cores, w.blocks()) - 1 {
		others.Go(w.run)
	}
	w.run()
	others.Wait()
	return w.result()
}

func (w *Work) blocks() int { return len(w.out.Blocks()) }

// run evaluates blocks until none is left.
func (w *Work) run() {
	e := w.adder.idle.Get().(*evaluator)
	defer w.adder.idle.Put(e)
	for {
		block := int(w.next.Add(1)) - 1
		if block >= w.blocks() {
			return
		}
		e.evaluate(w, block)
		close(w.done[block])
		if w.sha != nil {
			w.sha.ready(block)
		}
	}
}

func (w *Work) result() tree.Result {
	result := tree.Result{Node: w.sum.Node, Sum: w.out, NotFinite: -1}
	for block, at := range w.notFinite {
		if at >= 0 {
			result.NotFinite = block*vector.BlockElements + at
			break
		}
	}
	switch {
	case w.sha != nil:
		result.Hash = w.sha.sum()
	case w.leaves != nil:
		result.Hash = w.out.RootOf(w.leaves)
	}
	for i, operand := range w.sum.Operands {
		if operand.Unchecked == nil {
			continue
		}
		leaves := w.digests[i]
		if w.isHashed() {
			leaves = w.leaves // of what was copied, so that nothing can change between
		}
		digest := vector.Digest(operand.Gradients.RootOf(leaves))
		wrong := tree.Wrong{Contribution: operand.Unchecked, Rewritten: !digest.Equal(operand.Unchecked.Digest), NotFinite: -1}
		if result.NotFinite >= 0 {
			// A sum is not finite if one of its operands is not; so they are looked at only then.
			wrong.NotFinite, wrong.Value = operand.Gradients.FirstNotFinite()
		}
		if wrong.Rewritten || wrong.NotFinite >= 0 {
			result.Wrong = append(result.Wrong, wrong)
		}
	}
	return result
}
