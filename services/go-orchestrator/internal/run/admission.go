package run

import (
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// How fast workers may join. Every join is a record of the ledger, so that whoever joins and leaves
// could make it grow, and with it the time that a step waits for the disk. A run that is started,
// or whose orchestrator is, gets all its workers at once; after that they come one by one.
const (
	joinsByName       = 32 // at once, under one name
	joinsBySecond     = 1  // and a second, after that
	strangers         = 1024
	strangersBySecond = 4
	maxJoiningNames   = 4096 // that are counted
)

// admission counts the joins.
type admission struct {
	names     map[string]*bucket
	strangers bucket // all names that were not in the run before
}

// bucket holds tokens, and gets new ones with time.
type bucket struct {
	spent float64 // of those that it can hold
	at    time.Time
}

// take spends a token, or says how long there will be none.
func (b *bucket) take(now time.Time, holds, bySecond float64) (wait time.Duration) {
	b.spent = max(0, b.spent-max(0, now.Sub(b.at).Seconds())*bySecond)
	b.at = now
	if b.spent+1 > holds {
		return time.Duration((b.spent + 1 - holds) / bySecond * float64(time.Second))
	}
	b.spent++
	return 0
}

// slowDown refuses a join for now that is beyond what a run needs.
func (m *Machine) slowDown(join *protocol.Join) *protocol.Error {
	_, known := m.roster.known[join.WorkerName]
	if !known && m.config.MaxWorkers > 0 && len(m.roster.workers) >= m.config.MaxWorkers {
		return later(time.Second, "the run has %d workers, and the places that are left are kept for those that return; "+
			"raise --max-connections", len(m.roster.workers))
	}
	if !known {
		if wait := m.admission.strangers.take(m.now, strangers, strangersBySecond); wait > 0 {
			return later(wait, "more workers join the run for the first time than %d at once and %d a second", strangers,
				strangersBySecond)
		}
	}
	if wait := m.admission.byName(join.WorkerName).take(m.now, joinsByName, joinsBySecond); wait > 0 {
		return later(wait, "worker %s joins more often than %d times at once and %d a second", join.WorkerName, joinsByName,
			joinsBySecond)
	}
	return nil
}

func (a *admission) byName(name string) *bucket {
	if a.names == nil || len(a.names) >= maxJoiningNames {
		a.names = map[string]*bucket{}
	}
	if a.names[name] == nil {
		a.names[name] = &bucket{}
	}
	return a.names[name]
}

func later(wait time.Duration, format string, args ...any) *protocol.Error {
	err := protocol.Errorf(protocol.RetryLater, format, args...)
	err.RetryAfter = wait.Seconds()
	return err
}
