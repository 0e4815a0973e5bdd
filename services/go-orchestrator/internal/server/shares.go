package server

import "pangea.example/pangea/services/go-orchestrator/internal/budget"

// shares divide the memory of the process: what arrives and what waits to be sent may take a part
// of it only, and what strangers send a part of that. The rest is left to gradients and states, so
// that the open step can always be summed up.
type shares struct {
	transit   *budget.Budget
	newcomers *budget.Budget // of connections that have not joined
	each      int64          // for one worker
}

// A frame of the largest size and what is decoded from it has to fit a share, where the limit of
// the process allows for it.
const leastShare = 16 << 20

func share(memory *budget.Budget) shares {
	limit := memory.Limit()
	transit := memory.Child("memory of arriving messages and waiting replies", max(limit/4, leastShare))
	return shares{transit: transit, each: max(limit/16, leastShare),
		newcomers: transit.Child("memory of connections that have not joined", max(limit/8, leastShare))}
}

// worker makes the share of a worker.
func (s shares) worker() *budget.Budget {
	return s.transit.Child("memory of what one worker sends", s.each)
}
