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

func (p *Pool) take(elements int) ([]float32, error) {
	p.mutex.Lock()
	if free := p.free[elements]; len(free) > 0 {
		block := free[len(free)-1]
		p.free[elements] = free[:len(free)-1]
		p.mutex.Unlock()
		return block, nil
	}
	p.mutex.Unlock()
	if err := p.budget.Take(int64(elements) * 4); err != nil {
		return nil, err
	}
	return make([]float32, elements), nil
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
