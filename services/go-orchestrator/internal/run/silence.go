package run

import (
	"log/slog"
	"time"
)

// A worker that was silent for so many of its heartbeats, and at least so long, is not waited for.
const (
	missedBeats = 5
	leastPause  = 300 * time.Millisecond
)

func (m *Machine) hear(peer Peer) {
	w := m.find(peer)
	if w == nil {
		return
	}
	pause, was := m.now.Sub(w.heard), w.silent
	w.heard, w.silent = m.now, false
	if was {
		m.note(slog.LevelInfo, "worker is heard again", "id", w.id, "worker", w.name, "seconds", pause.Seconds())
		m.rebase() // It may be further than the others, and what it now says is of its own step.
	}
}

// onTick looks for workers that are not to be waited for any longer.
func (m *Machine) onTick() {
	m.findSilent()
	m.giveUpDonor()
	m.findHanging()
}

// findSilent looks for workers that have fallen silent. Their connections stay, their shards go to others.
func (m *Machine) findSilent() {
	for _, w := range m.workers {
		if w.beat > 0 && !w.silent && m.now.Sub(w.heard) > max(leastPause, missedBeats*w.beat) {
			w.silent = true
			m.note(slog.LevelWarn, "worker is silent; its shards go to others", "id", w.id, "worker", w.name, "pid", w.pid, "seconds", m.now.Sub(w.heard).Seconds())
			m.free(w)
		}
	}
}
