package run

import (
	"log/slog"
	"time"
)

// A worker that was silent for this many of its heartbeats, and at least this long, is not waited
// for.
const (
	missedHeartbeats = 5
	leastSilence     = 300 * time.Millisecond
)

// markSeen notes that something arrived from a worker.
func (m *Machine) markSeen(peer Peer) {
	w := m.roster.find(peer)
	if w == nil {
		return
	}
	pause, was := m.now.Sub(w.lastSeen), w.silent
	w.lastSeen, w.silent = m.now, false
	if was {
		m.note(slog.LevelInfo, "worker is no longer silent", "id", w.id, "worker", w.name, "seconds", pause.Seconds())
		m.rebase() // It may be ahead of the others, and then its message is about its own step.
	}
}

// onTick does what is due: it looks for workers that are not to be waited for any longer.
func (m *Machine) onTick() {
	m.findSilent()
	m.replaceSlowDonor()
	m.findHanging()
	m.recordNewcomers()
}

// findSilent looks for workers that have fallen silent. Their connections stay, their shards go to
// others.
func (m *Machine) findSilent() {
	for _, w := range m.roster.workers {
		if w.heartbeat > 0 && !w.silent && m.now.Sub(w.lastSeen) > max(leastSilence, missedHeartbeats*w.heartbeat) {
			w.silent = true
			m.note(slog.LevelWarn, "worker is silent; its shards go to others", "id", w.id, "worker", w.name, "pid", w.pid,
				"seconds", m.now.Sub(w.lastSeen).Seconds())
			m.releaseLeases(w)
		}
	}
}
