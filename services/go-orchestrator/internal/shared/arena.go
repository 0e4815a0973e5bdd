package shared

import (
	"fmt"
	"sync"

	"pangea.example/pangea/services/go-orchestrator/internal/budget"
)

// arenaBytes is how much of small pieces goes into one region: a descriptor and a mapping for each
// would be too many where a run keeps thousands of them.
const arenaBytes = 4 << 20

// alignment of a piece, in bytes.
const alignment = 64

// Piece is a part of a region of this process.
type Piece struct {
	Region *Region
	Number uint32 // of the region, from 1; never used for another one
	Offset uint64 // in the region
	Bytes  []byte
}

// Arena gives pieces of equal size and keeps them for the next use. It is safe for use by several
// goroutines.
type Arena struct {
	budget  *budget.Budget
	mutex   sync.Mutex
	bytes   int64 // of a piece; 0 before the first one
	free    []*Piece
	regions uint32
	mapped  int64       // bytes of all regions
	grown   func(int64) // called with mapped
}

// NewArena makes an empty one; its regions count against the budget, in use or not. grown, which
// may be nil, is told how many bytes they have, whenever there are more.
func NewArena(budget *budget.Budget, grown func(mapped int64)) *Arena {
	if grown == nil {
		grown = func(int64) {}
	}
	return &Arena{budget: budget, grown: grown}
}

// Take gives a piece; what is in it is of no meaning. All pieces of an arena have the same size.
func (a *Arena) Take(bytes int64) (*Piece, error) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if a.bytes == 0 {
		a.bytes = bytes
	}
	if bytes != a.bytes {
		return nil, fmt.Errorf("a piece of %d bytes in an arena of pieces of %d", bytes, a.bytes)
	}
	if len(a.free) == 0 {
		if err := a.grow(); err != nil {
			return nil, err
		}
	}
	last := len(a.free) - 1
	piece := a.free[last]
	a.free = a.free[:last]
	return piece, nil
}

// Prepare makes a piece beforehand, if there is none and half of the budget is not in use yet: to
// get memory from the system takes longer than to add up what goes into it.
func (a *Arena) Prepare() {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if len(a.free) == 0 && a.bytes > 0 && a.budget.Used()+max(a.bytes, arenaBytes) <= a.budget.Limit()/2 {
		_ = a.grow() // Take says why, when a piece is needed
	}
}

// grow cuts one more region into pieces.
func (a *Arena) grow() error {
	step := (a.bytes + alignment - 1) / alignment * alignment
	count := max(1, arenaBytes/step)
	if err := a.budget.Take(count * step); err != nil {
		return err
	}
	region, err := Create(count*step, nil)
	if err != nil {
		a.budget.Give(count * step)
		return err
	}
	a.regions++
	a.mapped += count * step
	a.grown(a.mapped)
	// The last piece is cut off first: pieces are taken from the end of the list.
	for i := count - 1; i >= 0; i-- {
		a.free = append(a.free, &Piece{region, a.regions, uint64(i * step), region.memory[i*step : i*step+a.bytes]})
	}
	return nil
}

// Put takes a piece back.
func (a *Arena) Put(piece *Piece) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.free = append(a.free, piece)
}
