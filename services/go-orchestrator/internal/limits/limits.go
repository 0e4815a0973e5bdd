// Package limits keeps the process within what it was given: memory and descriptors.
package limits

import (
	"fmt"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"pangea.example/pangea/services/go-orchestrator/internal/httpapi"
)

// HoldMemory makes the collector work harder instead of letting the process grow far beyond the
// budget: what was released stays in memory until it is collected, by default until it is as much
// again as what is in use. The function that it returns is to be told how much of the budget is
// mapped, which is not on the heap and leaves less for that. A lower GOMEMLIMIT counts.
func HoldMemory(budget int64) (mapped func(int64)) {
	given := debug.SetMemoryLimit(-1) // GOMEMLIMIT, or none
	hold := func(mapped int64) { debug.SetMemoryLimit(min(given, heap(budget, mapped))) }
	hold(0)
	return hold
}

// heap is what the heap may take: the rest of the budget, and room for what no budget counts, such
// as stacks and metrics. With less than a part of the budget, the collector would never rest.
func heap(budget, mapped int64) int64 { return max(budget-mapped, budget/8) + budget/16 + margin }

const margin = 32 << 20

// Descriptors that are not those of workers: pages, files of the run, shared memory, and
// connections that are being turned away.
const otherDescriptors = httpapi.MaxConnections + 64

// Connections returns how many connections the process can keep of those that are asked for. Go has
// raised its soft limit of descriptors to the hard one.
func Connections(asked int) (int, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("ask for the limit of descriptors: %w", err)
	}
	return connections(asked, limit.Cur)
}

func connections(asked int, descriptors uint64) (int, error) {
	if descriptors <= otherDescriptors {
		return 0, fmt.Errorf("the process may have %d descriptors; it needs more than %d: raise the limit "+
			"(ulimit -n, LimitNOFILE)", descriptors, otherDescriptors)
	}
	return int(min(uint64(asked), descriptors-otherDescriptors)), nil
}
