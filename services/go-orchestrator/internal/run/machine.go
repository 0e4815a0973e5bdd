// Package run is the orchestrator's state machine: events go in, effects come out. It knows workers, steps, shards and sums; it
// has no goroutines, does no input or output and never looks at a clock, so that a simulation can drive it through any history.
package run

import (
	"log/slog"
	"slices"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/tree"
)

// State of a run, as run.json shows it.
type State string

// The states of a run.
const (
	Waiting  State = "waiting"  // for the first worker
	Running  State = "running"  // has begun; it may be without workers for a while
	Finished State = "finished" // all steps are closed and applied
	Stopped  State = "stopped"  // ended before that
)

// Config is fixed for the life of a Machine.
type Config struct {
	RunID       string
	Settings    protocol.Settings
	MemoryBytes int64 // that gradients and snapshots may take
	KeepBytes   int64 // of aggregates that are kept for workers that lag; two steps are always kept
}

// Machine is the state of one run. It is not safe for use by several goroutines.
type Machine struct {
	config  Config
	state   State
	now     time.Time
	effects []Effect

	// Known from the first worker on.
	layout   *protocol.Layout
	dataset  protocol.Dataset
	schedule Schedule
	started  time.Time
	finished time.Time

	workers  []*worker // ascending by id
	lastID   uint32
	software string // of the first worker

	step       step
	aggregates []*protocol.Aggregate    // of the last closed steps, without a gap
	references map[uint64]protocol.Hash // of the parameters after as many steps, as first reported; as far back as aggregates go
	closed     *MetricsLine             // of the last closed step, until its parameters' hash is known
	timings    timings
	agreed     struct { // the last step whose parameters' hash is known
		steps uint64
		hash  protocol.Hash
		loss  Number
	}
	rate rate

	donor    *worker // has been asked for its state
	snapshot *protocol.Snapshot
}

// step is the open step.
type step struct {
	number  uint64
	opened  time.Time // zero until the first lease of the run
	divided bool      // shards have owners
	present int       // workers at the division
	owners  []uint32  // worker id by shard; 0 is nobody
	tree    *tree.Tree
}

// worker is one that has joined.
type worker struct {
	id   uint32
	peer Peer
	name string
	pid  uint32

	step    uint64 // steps applied to its parameters, as last reported
	hash    protocol.Hash
	waiting bool   // its request for work is held back
	request uint64 // which one

	lost   bool // holds parameters that the run has left behind, and needs a snapshot
	served bool // lost, and has been sent one
	unfit  bool // was asked for a snapshot and gave none that can be used
}

// New makes the machine of a run that waits for its first worker.
func New(config Config) *Machine {
	m := &Machine{config: config, state: Waiting, references: map[uint64]protocol.Hash{}}
	m.openStep(0)
	m.step.opened = time.Time{}
	return m
}

// Handle takes one event at a time and says what is to be done.
func (m *Machine) Handle(now time.Time, event Event) []Effect {
	m.now, m.effects = now, nil
	switch e := event.(type) {
	case JoinAsked:
		m.onJoin(e)
	case WorkAsked:
		m.onWork(e)
	case UpdateCame:
		m.onUpdate(e)
	case SnapshotCame:
		m.onSnapshot(e)
	case LeaveAsked:
		m.onLeave(e)
	case PeerGone:
		m.onGone(e)
	case StopAsked:
		m.onStop(e)
	}
	m.settle()
	return m.effects
}

// Layout of the model; nil until the first worker has joined.
func (m *Machine) Layout() *protocol.Layout { return m.layout }

// State of the run.
func (m *Machine) State() State { return m.state }

// Workers is how many have joined and are still there.
func (m *Machine) Workers() int { return len(m.workers) }

// settle answers every held back request that can be answered now. An answer may make another one possible.
func (m *Machine) settle() {
	for answered := true; answered; {
		answered = false
		for _, w := range slices.Clone(m.workers) {
			if !w.waiting {
				continue
			}
			reply := m.answer(w)
			if reply == nil {
				continue
			}
			answered, w.waiting = true, false
			m.send(w.peer, w.request, reply)
			if _, refused := reply.(*protocol.Error); refused {
				m.remove(w)
			}
		}
	}
}

// answer gives what a waiting worker is to do now, or nil when it has to wait on.
func (m *Machine) answer(w *worker) protocol.Reply {
	if m.state == Stopped {
		return m.stopping(protocol.KindWorkRequest)
	}
	if !m.reachable(w.step) {
		w.lost = true
	}
	if w.lost {
		switch {
		case m.state == Finished:
			return m.finishedReply()
		case m.snapshot != nil:
			w.served = true
			return m.snapshot
		case m.donorInSight():
			return nil
		case m.references[w.step] != w.hash || !m.reachable(w.step):
			err := protocol.Errorf(protocol.Stop, "no worker holds the parameters of step %d any more, and worker %d (%s) comes with those of step %d; start a new run",
				m.step.number, w.id, w.name, w.step)
			err.Refused = protocol.KindWorkRequest
			return err
		}
		// Nobody else is left, but what it holds is of this run, and the aggregates since then are still here.
		w.lost = false
	}
	if aggregate := m.kept(w.step); aggregate != nil {
		return aggregate
	}
	if m.state == Finished {
		return m.finishedReply()
	}
	if m.snapshotWanted() && !w.unfit {
		m.donor = w
		return protocol.SnapshotRequest{Step: m.step.number}
	}
	return m.lease(w)
}

func (m *Machine) finishedReply() protocol.Reply {
	return protocol.Finished{Steps: m.agreed.steps, ParametersHash: m.agreed.hash}
}

func (m *Machine) stopping(refused protocol.Kind) *protocol.Error {
	err := protocol.Errorf(protocol.Reconnect, "the orchestrator of run %s is stopping; connect again when it is back", m.config.RunID)
	err.Refused = refused
	return err
}

// kept gives the aggregate of a step, or nil.
func (m *Machine) kept(step uint64) *protocol.Aggregate {
	if len(m.aggregates) == 0 || step < m.aggregates[0].Step || step >= m.step.number {
		return nil
	}
	return m.aggregates[step-m.aggregates[0].Step]
}

// reachable says whether parameters of that many steps can be brought to the open step by the aggregates that are kept.
func (m *Machine) reachable(step uint64) bool {
	return step == m.step.number || m.kept(step) != nil
}

func (m *Machine) find(peer Peer) *worker {
	for _, w := range m.workers {
		if w.peer == peer {
			return w
		}
	}
	return nil
}

func (m *Machine) send(peer Peer, request uint64, reply protocol.Reply) {
	m.effects = append(m.effects, Send{peer, request, reply})
}

func (m *Machine) refuse(peer Peer, request uint64, kind protocol.Kind, err *protocol.Error) {
	err.Refused = kind
	m.send(peer, request, err)
}

func (m *Machine) note(level slog.Level, message string, args ...any) {
	m.effects = append(m.effects, Note{level, message, args})
}
