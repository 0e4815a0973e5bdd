package simulation

import "pangea.example/pangea/services/go-orchestrator/internal/protocol"

// Scripts that end a run before its last step.

// enough is the reason that they give.
const enough = "the loss no longer falls"

// early says when a script ends the run.
type early struct {
	// The run ends after this step: known beforehand where a shard asks for it, otherwise once it has
	// ended.
	steps  uint64
	shards bool // the shards of the last of these steps ask for it
	leaves bool // a worker asks for it, at any time
	ended  bool
}

// endEarly makes the choice for a tenth of the seeds.
func (w *world) endEarly(seed uint64) early {
	e := early{steps: w.schedule.TotalSteps}
	switch {
	case seed%10 != 5:
	case seed/10%2 == 0:
		e.shards, e.steps = true, 1+uint64(w.clock.dice.IntN(int(w.schedule.TotalSteps)))
	default:
		e.leaves = true
		w.clock.after(w.clock.between(0, 4*faultySeconds/10), w.leaveLoop)
	}
	return e
}

// leaveLoop lets the script of a worker leave its loop.
func (w *world) leaveLoop() {
	for _, worker := range w.workers {
		if !worker.dead && !worker.done {
			w.fault("script leaves its loop", worker.name)
			worker.stop = enough
			return
		}
	}
	w.clock.after(w.clock.between(0, faultySeconds/10), w.leaveLoop)
}

// asksForEnd gives the reason for which a shard asks for the end of the run, or "".
func (e early) asksForEnd(step, samples uint64) string {
	if e.shards && step+1 == e.steps && samples > 0 {
		return enough
	}
	return ""
}

// checkEnd checks that the run ended where it had to, and for the right reason.
func (w *world) checkEnd(r protocol.Finished) {
	e, total := &w.early, w.schedule.TotalSteps
	if e.leaves && !e.ended {
		e.steps = r.Steps
	}
	e.ended = true
	reason := ""
	if e.steps < total {
		reason = enough
		w.fault("run ended early")
	}
	if r.Steps != e.steps || r.Stopped != reason {
		w.violate("the run ended after %d of %d steps, because %q; it must end after %d", r.Steps, total, r.Stopped, e.steps)
	}
}
