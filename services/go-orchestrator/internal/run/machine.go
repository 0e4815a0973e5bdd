// Package run is the orchestrator's state machine: events go in, effects come out. It knows workers, steps, shards and sums; it
// has no goroutines, does no input or output and never looks at a clock, so that a simulation can drive it through any history.
package run

import (
	"log/slog"
	"slices"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
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
	DefaultCut  bool  // nobody asked for Settings.MinShardSamples: a ledger from before there was one goes by its own
	MemoryBytes int64 // that gradients and snapshots may take
	KeepBytes   int64 // of aggregates that are kept for workers that lag; two steps are always kept

	CheckpointSteps uint64        // take one each so many steps; 0 for none
	CheckpointEvery time.Duration // and each so long; 0 for none
	KeepCheckpoints int           // the newest ones; at least 1
	Strict          bool          // end the run where the same bits cannot be promised any more
	TakeChanges     bool          // take another training than the run had, and go on after a stop
	VerifyFraction  float64       // share of the shards that two workers compute
	StragglerK      float64       // a shard is late after median + k * MAD
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
	epochs   uint32 // that the ledger says
	started  time.Time
	finished time.Time

	workers  []*worker // ascending by id
	lastID   uint32
	met      bool   // a worker has joined since the process was started
	software string // of the first worker

	computation computation

	step       step
	history    []committedStep       // the steps in the ledger
	tip        *protocol.Hash        // of the parameters after all of them; nil until the workers agree on it
	claims     []claim               // until then
	doubted    []claim               // on which they did not agree, and were sent to compute again
	aggregates []*protocol.Aggregate // of the last closed steps, up to the open one, without a gap
	recent     []closedStep          // who sent what of the last closed steps
	lateness   lateness              // of shards
	asking     lateness              // of workers, from an answer to their next request
	closed     *MetricsLine          // of the last committed step, until its parameters' hash is known
	lines      uint64                // of metrics.jsonl
	timings    timings
	agreed     struct { // the last step whose parameters' hash is known
		steps uint64
		hash  protocol.Hash
		loss  Number
	}
	rate      rate
	overtakes uint64 // shards leased to a second worker because the first was late

	donor       *worker  // has been asked for its state
	giving      lateness // of workers that give it
	snapshot    *protocol.Snapshot
	checkpoints []ledger.Checkpoint // on the disk, ascending
	saving      saving
	loading     bool // a checkpoint
	resumption  *Resumption
	stop        *ledger.Stop // a script has ended the run
	halted      string       // why the run was stopped for good
	incidents   uint64       // in the ledger
	ties        int          // how often the workers did not agree on parameters and none had a majority
	recomputed  uint64       // steps that were closed again
	ending      bool         // only a last checkpoint is waited for

	quarantined map[string]string        // why, by the worker's name
	diverged    map[string]int           // how often, by the worker's name
	names       map[uint32]string        // of all workers that ever joined
	barred      map[Peer]*protocol.Error // connections of workers that were sent away, and why
}

// step is the open step.
type step struct {
	number   uint64
	opened   time.Time // zero until the first lease of the run
	divided  bool      // shards have owners
	present  int       // workers at the division
	shards   []shard
	tree     *tree.Tree
	disputes []*dispute // about different shards
	again    int        // computed again because a replay had other bits
}

// worker is one that has joined.
type worker struct {
	id   uint32
	peer Peer
	name string
	pid  uint32

	step     uint64 // steps applied to its parameters, as last reported
	hash     protocol.Hash
	waiting  bool      // its request for work is held back
	request  uint64    // which one
	answered time.Time // when it was last told what to do
	leased   int       // shards that it was told to compute then

	lost         bool      // holds parameters that the run has left behind, and needs a snapshot
	served       bool      // lost, and has been sent one
	unfit        bool      // was asked for a snapshot and gave none that can be used
	noDonorUntil time.Time // it did not give one in time
	sound        bool      // its hash is that of the run's parameters after as many steps

	beat   time.Duration // longest silence that it promised; 0 for none
	heard  time.Time
	silent bool

	hanging bool // does nothing but send heartbeats
}

// Handle takes one event at a time and says what is to be done.
func (m *Machine) Handle(now time.Time, event Event) []Effect {
	m.now, m.effects = now, nil
	switch e := event.(type) {
	case JoinAsked:
		m.onJoin(e)
	case WorkAsked:
		m.hear(e.Peer)
		m.stir(e.Peer)
		m.onWork(e)
	case UpdateCame:
		m.hear(e.Peer)
		m.stir(e.Peer)
		m.onUpdate(e)
	case SnapshotCame:
		m.hear(e.Peer)
		m.stir(e.Peer)
		m.onSnapshot(e)
	case LeaveAsked:
		m.onLeave(e)
	case PeerGone:
		m.onGone(e)
	case Heard:
		m.hear(e.Peer)
	case Tick:
		m.onTick()
	case CheckpointWritten:
		m.onWritten(e)
	case CheckpointLoaded:
		m.onLoaded(e)
	case CheckpointAsked:
		m.onCheckpointAsked(e)
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

// settle goes on as far as it can: it closes the open step, finds the step to work on, and answers every held back request that can be
// answered now. Each of these may make another one possible.
func (m *Machine) settle() {
	for changed := true; changed; {
		changed = m.decide()
		changed = m.finish() || changed
		changed = m.closeStep() || changed
		m.rebase()
		for _, w := range slices.Clone(m.workers) {
			if !w.waiting || m.find(w.peer) != w {
				continue
			}
			reply := m.answer(w)
			if reply == nil {
				continue
			}
			changed, w.waiting, w.answered, w.leased = true, false, m.now, 0
			if lease, is := reply.(protocol.Lease); is {
				w.leased = len(lease.Shards)
			}
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
		return m.answerLost(w)
	}
	if aggregate := m.kept(w.step); aggregate != nil {
		return aggregate
	}
	if _, settled := m.reference(w.step); settled && m.donor == nil && m.donates(w) && (m.saving.due() || m.snapshotWanted()) {
		m.donor = w
		return protocol.SnapshotRequest{Step: m.step.number}
	}
	switch {
	case m.ending:
		return nil // until the checkpoint is written; then everyone is told
	case m.step.number == m.totalSteps():
		if m.state != Finished || m.saving.due() && m.donor != nil {
			return nil // until the workers agree on what came out, and the last checkpoint is on its way: the one that was asked for it may not give it
		}
		return m.finishedReply()
	}
	return m.lease(w)
}

// answerLost gives a worker whose parameters the run cannot use those of another, or of a checkpoint.
func (m *Machine) answerLost(w *worker) protocol.Reply {
	switch {
	case m.ending:
		return nil
	case m.snapshot != nil && m.reachable(m.snapshot.Step):
		w.served = true
		return m.snapshot
	case m.loading || m.donorInSight() || slices.ContainsFunc(m.workers, func(other *worker) bool { return other.sound && !other.unfit }):
		return nil // Who is silent may hold what the run can go on with, if it is only this worker itself.
	}
	err := protocol.Errorf(protocol.Stop, "no worker and no checkpoint holds parameters of run %s that worker %d (%s) could go on with, and its own (after %d steps) are not those of the run; start it anew",
		m.config.RunID, w.id, w.name, w.step)
	err.Refused = protocol.KindWorkRequest
	return err
}

func (m *Machine) finishedReply() protocol.Reply {
	return protocol.Finished{Steps: m.agreed.steps, ParametersHash: m.agreed.hash, Incidents: m.incidents, Stopped: m.stopped()}
}

func (m *Machine) stopping(refused protocol.Kind) *protocol.Error {
	if m.halted != "" {
		err := protocol.Errorf(protocol.Stop, "%s", m.halted)
		err.Refused = refused
		return err
	}
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
