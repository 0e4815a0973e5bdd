package vector

import (
	"sync"

	"pangea.example/pangea/services/go-orchestrator/internal/budget"
	"pangea.example/pangea/services/go-orchestrator/internal/shared"
)

// Pool keeps blocks for the next step, because fresh memory costs more than the sum that is
// computed in it. A run has one model, so all its vectors have the same two block lengths.
type Pool struct {
	budget *budget.Budget
	arena  *shared.Arena // for sums; nil where nobody shares memory
	mutex  sync.Mutex
	free   map[int][][]float32
}

// NewPool makes an empty pool; its blocks count against the budget, in use or not.
func NewPool(budget *budget.Budget) *Pool {
	return &Pool{budget: budget, free: map[int][][]float32{}}
}

// Budget that the blocks count against.
func (p *Pool) Budget() *budget.Budget { return p.budget }

// New returns a vector of that many elements, at least one, with one holder and any content. It is
// for sums, and never refused: their operands are there already, and only a sum makes them
// unnecessary. So the budget may be exceeded by one vector for a while. It is in shared memory, if
// there is any and the budget allows it.
func (p *Pool) New(elements int) *Vector {
	if v := p.inArena(elements); v != nil {
		return v
	}
	vector := &Vector{elements: elements, pool: p}
	for from := 0; from < elements; from += BlockElements {
		length := min(BlockElements, elements-from)
		block := p.reuse(length)
		if block == nil {
			p.budget.Owe(int64(length) * 4)
			block = make([]float32, length)
		}
		vector.blocks = append(vector.blocks, block)
	}
	return vector.Retain()
}

func (p *Pool) take(elements int) ([]float32, error) {
	if block := p.reuse(elements); block != nil {
		return block, nil
	}
	if err := p.budget.Take(int64(elements) * 4); err != nil {
		return nil, err
	}
	return make([]float32, elements), nil
}

// reuse returns a free block of that length, or nil.
func (p *Pool) reuse(elements int) []float32 {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	free := p.free[elements]
	if len(free) == 0 {
		return nil
	}
	p.free[elements] = free[:len(free)-1]
	return free[len(free)-1]
}

func (p *Pool) put(blocks [][]float32) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for _, block := range blocks {
		p.free[len(block)] = append(p.free[len(block)], block)
	}
}

// Trim releases the blocks that are not in use, for when others need the budget.
func (p *Pool) Trim() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for elements, free := range p.free {
		p.budget.Give(int64(elements) * 4 * int64(len(free)))
		delete(p.free, elements)
	}
}
