package simulation

import (
	"strings"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/run"
)

// Histories about one scenario, in which nothing else goes wrong.

// hangLimit is how long a run may take in which workers hang, from when the last of them does.
const hangLimit = 150 * time.Second

// forEver is longer than any history.
const forEver = 1000 * time.Hour

// hangAllBut lets all workers that begin the run hang, one after the other, except for some; where
// none is left, a new one joins.
func (w *world) hangAllBut(sound int) {
	c := w.clock
	last := time.Duration(0)
	for number := sound; number < w.beginners; number++ {
		pause := c.between(300*time.Millisecond, 3*time.Second) // all have been started by then
		last = max(last, pause)
		c.after(pause, func() {
			if worker := w.workers[number]; !worker.done {
				w.fault("worker hangs for good", worker.name)
				worker.hang(forEver)
			}
		})
	}
	if sound == 0 {
		c.after(last, func() { w.startWorker("newcomer", false) })
	}
	c.after(last+hangLimit, func() {
		if !w.ended {
			w.violate("the run is held up by workers that hang")
		}
	})
}

// stopAll ends all processes a number of times, cleanly or with kill -9. Others are started.
func (w *world) stopAll(times int) {
	if times == 0 {
		return
	}
	w.clock.after(w.clock.between(200*time.Millisecond, 2*time.Second), func() {
		o := w.orchestrator
		if o == nil || w.ended {
			return
		}
		if !o.ending.IsZero() {
			w.stopAll(times) // it is stopping already
			return
		}
		if w.clock.chance(0.5) {
			w.killAll(o)
		} else {
			o.stop()
			// A finished run, of which steps are computed again, does not wait for the last of them.
			w.stopWhenEnded(o, o.machine.Saving() && o.machine.State() != run.Finished)
		}
		w.stopAll(times - 1)
	})
}

func (w *world) killAll(o *orchestrator) {
	w.fault("everything killed")
	committed := o.machine.Status().Committed
	if behind := committed - w.newest; w.quickDisk && behind > w.checkpointSteps {
		w.violate("the newest checkpoint is %d steps behind, but one is taken every %d", behind, w.checkpointSteps)
	}
	w.owed += committed - w.newest
	o.end()
	w.killWorkers()
}

// stopWhenEnded ends the workers when the orchestrator has taken its last checkpoint.
func (w *world) stopWhenEnded(o *orchestrator, saving bool) {
	if !o.dead {
		w.clock.after(5*time.Millisecond, func() { w.stopWhenEnded(o, saving) })
		return
	}
	w.fault("everything stopped")
	status := o.machine.Status()
	if saving && status.Step != w.newest {
		w.violate("it was stopped at step %d, and the newest checkpoint is of step %d", status.Step, w.newest)
	}
	if saving && !status.Replaying {
		w.fault("everything stopped with a last checkpoint")
	}
	w.owed += status.Committed - w.newest
	w.killWorkers()
}

func (w *world) killWorkers() {
	for _, worker := range w.workers {
		if !worker.dead && !worker.done {
			worker.kill()
		}
	}
}

// checkScenario checks at the end that no more was recomputed than the checkpoints made necessary.
func (w *world) checkScenario() {
	if w.stops && w.recomputed > w.owed {
		w.violate("%d steps were recomputed, but the checkpoints were only %d behind in all", w.recomputed, w.owed)
	}
}

// expected reports whether something happened that justifies an error in the log.
func (w *world) expected(message string) bool {
	faults := w.history.Faults
	switch {
	case strings.HasPrefix(message, "a checkpoint cannot be used"):
		return faults["checkpoint damaged"] > 0
	case strings.HasPrefix(message, "cannot write a checkpoint"):
		return faults["checkpoint not written"] > 0
	case strings.HasPrefix(message, "worker sent a state that is not what it says"):
		return faults["state spoilt"] > 0
	case message == "divergence":
		return w.flipped > 0
	case message == "conflict", message == "gradient update was not accepted":
		return w.lies || w.flipped > 0 // with wrong parameters, a worker computes other gradients
	case message == "quarantine":
		return w.lies
	}
	return false
}
