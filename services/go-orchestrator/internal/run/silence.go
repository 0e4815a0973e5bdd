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
	if w.silent {
		m.note(slog.LevelInfo, "worker is heard again", "id", w.id, "worker", w.name, "seconds", m.now.Sub(w.heard).Seconds())
	}
	w.heard, w.silent = m.now, false
}

// onTick looks for workers that have fallen silent. Their connections stay, their shards go to others.
func (m *Machine) onTick() {
	for _, w := range m.workers {
		if w.beat > 0 && !w.silent && m.now.Sub(w.heard) > max(leastPause, missedBeats*w.beat) {
			w.silent = true
			m.note(slog.LevelWarn, "worker is silent; its shards go to others", "id", w.id, "worker", w.name, "pid", w.pid, "seconds", m.now.Sub(w.heard).Seconds())
			m.free(w)
		}
	}
}
