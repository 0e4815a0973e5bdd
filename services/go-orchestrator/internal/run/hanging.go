package run

import (
	"log/slog"
	"time"
)

// A worker may hang while its heart beats: in its script, on a lock, on a disk. Nobody waits for it for ever: when what it was last told to do
// takes several times as long as it ever took, and at least so long, the run is led as if it were gone, until it does something.
const (
	leastHang     = 5 * time.Second
	hangsAfter    = 4 // times the longest observation
	longestHanded = 4 // times the longest state that was ever given, for the next one
)

// A worker that is asked for its state has at least so long, and longer where the state is large or took longer before; at the end of the run
// others may have to be asked in time. After that it is not asked again for a while.
const (
	leastDonation = 5 * time.Second
	lastDonation  = 2 * time.Second
	slowestLink   = 4 << 20 // bytes a second
	stateVectors  = 4       // times as large as the gradients, before a state was seen: parameters, and what an optimizer keeps
	donorPause    = 30 * time.Second
)

// findHanging looks for workers that have been at it for too long.
func (m *Machine) findHanging() {
	for _, w := range m.roster.workers {
		if w.waiting || w.hanging || w.silent || w.needsSnapshot || w == m.retention.donor || m.now.Sub(w.answered) < m.patience(w) {
			continue
		}
		m.hang(w, "worker hangs but still sends heartbeats; its shards go to others")
	}
}

func (m *Machine) hang(w *worker, message string) {
	w.hanging = true
	m.note(slog.LevelWarn, message, "id", w.id, "worker", w.name, "pid", w.pid, "seconds", m.now.Sub(w.answered).Seconds())
	m.releaseLeases(w)
}

// patience is how long a worker may take for what it was last told to do.
func (m *Machine) patience(w *worker) time.Duration {
	usual, pieces := &m.step.requestTimes, 1
	if w.leased > 0 {
		usual, pieces = &m.step.shardTimes, w.leased
	}
	if usual.count == 0 {
		return firstPatience
	}
	return max(leastHang, inSeconds(hangsAfter*float64(pieces)*usual.longest()))
}

// donorPatience is how long a worker may take to give its state.
func (m *Machine) donorPatience() time.Duration {
	least := leastDonation
	if m.end.draining || m.state == Finished {
		least = lastDonation
	}
	if m.retention.donations.count > 0 {
		return max(least, inSeconds(longestHanded*m.retention.donations.longest()))
	}
	return max(least, inSeconds(float64(stateVectors*m.identity.layout.Bytes())/slowestLink))
}

func inSeconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// giveUpDonor asks another worker when the one that was asked for its state does not give it.
func (m *Machine) giveUpDonor() {
	w := m.retention.donor
	if w == nil || m.now.Sub(w.answered) < m.donorPatience() {
		return
	}
	m.retention.donor = nil
	w.noDonorUntil = m.now.Add(donorPause)
	m.hang(w, "worker was asked for its state and did not send it in time; another worker or a checkpoint is tried")
}

// active notes that a worker does something again.
func (m *Machine) active(peer Peer) {
	w := m.roster.find(peer)
	if w == nil || !w.hanging {
		return
	}
	w.hanging = false
	m.note(slog.LevelInfo, "worker resumed after it hung", "id", w.id, "worker", w.name, "seconds", m.now.Sub(w.answered).Seconds())
	m.rebase() // It may be further than the others, and what it now says is of its own step.
}
