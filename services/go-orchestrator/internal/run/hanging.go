package run

import (
	"log/slog"
	"time"
)

// A worker may hang and still send heartbeats: in its script, on a lock, on a disk. It is not
// waited for forever: when its task takes several times as long as any such task before, and at
// least leastHang, the run proceeds as if it had left, until it does something.
const (
	leastHang  = 5 * time.Second
	hangsAfter = 4 // times the longest observation
)

// A worker that is asked for its state has at least leastDonation, and longer where the state is
// large or took longer before. At the end of the run it has less, so that others can be asked in
// time. One that does not send it is not asked again for a while.
const (
	leastDonation = 5 * time.Second
	lastDonation  = 2 * time.Second
	donatesWithin = 4       // times the longest donation before
	slowestLink   = 4 << 20 // bytes a second that are expected of any link, for the first donation
	// A state's size in gradients, before one was seen: parameters, and what an optimizer keeps.
	stateVectors = 4
	donorPause   = 30 * time.Second
)

// findHanging looks for workers whose task takes too long.
func (m *Machine) findHanging() {
	for _, w := range m.roster.workers {
		if w.waiting || w.hanging || w.silent || w.needsSnapshot || m.onlyDonates(w) ||
			m.now.Sub(w.answered) < m.patience(w) {
			continue
		}
		m.markHanging(w, "worker hangs but still sends heartbeats; its shards go to others")
	}
}

func (m *Machine) markHanging(w *worker, message string) {
	w.hanging = true
	m.note(slog.LevelWarn, message, "id", w.id, "worker", w.name, "pid", w.pid, "seconds", m.now.Sub(w.answered).Seconds())
	m.releaseLeases(w)
}

// patience is how long a worker may take for its task: the shards of its last lease, or else the
// next request.
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

// onlyDonates reports whether a worker was asked for its state and has not asked for work since.
func (m *Machine) onlyDonates(w *worker) bool {
	return w == m.retention.donor && !w.waiting && w.answered.Equal(w.askedAt)
}

// donorPatience is how long a worker may take to send its state.
func (m *Machine) donorPatience() time.Duration {
	least := leastDonation
	if m.end.draining || m.state == Finished {
		least = lastDonation
	}
	if m.retention.donations.count > 0 {
		return max(least, inSeconds(donatesWithin*m.retention.donations.longest()))
	}
	return max(least, inSeconds(float64(stateVectors*m.identity.layout.Bytes())/slowestLink))
}

func inSeconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// replaceSlowDonor lets another worker be asked when the donor does not send its state in time.
func (m *Machine) replaceSlowDonor() {
	w := m.retention.donor
	if w == nil || m.now.Sub(w.askedAt) < m.donorPatience() {
		return
	}
	const message = "worker was asked for its state and did not send it in time; another worker or a checkpoint is tried"
	if m.onlyDonates(w) {
		m.markHanging(w, message)
	} else {
		m.note(slog.LevelWarn, message, "id", w.id, "worker", w.name, "seconds", m.now.Sub(w.askedAt).Seconds())
	}
	m.retention.donor = nil
	w.noDonorUntil = m.now.Add(donorPause)
}

// markActive notes that a worker has done something besides sending heartbeats.
func (m *Machine) markActive(peer Peer) {
	w := m.roster.find(peer)
	if w == nil || !w.hanging {
		return
	}
	w.hanging = false
	m.note(slog.LevelInfo, "worker resumed after it hung", "id", w.id, "worker", w.name,
		"seconds", m.now.Sub(w.answered).Seconds())
	m.rebase() // It may be ahead of the others, and then its message is about its own step.
}
