// Package run is the orchestrator's state machine: events go in, effects come out. It knows
// workers, steps, shards and sums; it has no goroutines, does no input or output and never looks at
// a clock, so that a simulation can drive it through any history.
package run

import (
	"log/slog"
	"slices"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/contenthash"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
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
	RunID string
	// The key that the ledger's head is signed with, for the first record; "" for none.
	PublicKey string
	Release   string // of this program; "" is not recorded
	Settings  protocol.Settings
	// Settings.MinShardSamples is a default: a ledger of a format without it keeps its own.
	DefaultCut  bool
	MemoryBytes int64 // limit for gradients and snapshots
	// Limit for the aggregates that are kept for workers that lag; those of two steps always are.
	KeepBytes int64

	CheckpointSteps uint64        // steps between two checkpoints; 0 for none
	CheckpointEvery time.Duration // time between two checkpoints; 0 for none
	KeepCheckpoints int           // the newest ones; at least 1
	Strict          bool          // end the run when the same bits can no longer be promised
	// Accept a different training, and continue after a script has ended the run.
	TakeChanges    bool
	VerifyFraction float64 // share of the shards that two workers compute
	StragglerK     float64 // a shard is late after median + k * MAD
	// Workers at a time, beyond which only those that were in the run before may join; 0 for no limit.
	MaxWorkers int
}

// Machine is the state of one run. It is not safe for use by several goroutines.
//
// Everything that it does follows from its events and their times alone: it never draws lots, and
// never goes through a map where the order could show in an effect.
type Machine struct {
	config  Config
	now     time.Time // of the event that is being handled
	effects []Effect  // of this event so far

	state     State
	identity  identity  // what the run is, from the first worker on
	roster    roster    // who takes part, and who may not come back
	admission admission // how many joined lately
	agreement agreement // which parameters are the run's
	retention retention // what can still be handed out
	step      step      // the open step
	summing   summing   // the sum of the open step
	end       end       // why the run ends early, if it does
	figures   figures   // what people are shown; nothing is decided by it
}

// Handle takes one event at a time and says what is to be done.
func (m *Machine) Handle(now time.Time, event Event) []Effect {
	m.now, m.effects = now, nil
	switch e := event.(type) {
	case JoinRequested:
		m.onJoin(e)
	case WorkRequested:
		m.markSeen(e.Peer)
		m.markActive(e.Peer)
		m.onWork(e)
	case UpdateReceived:
		m.markSeen(e.Peer)
		m.markActive(e.Peer)
		m.onUpdate(e)
	case Summed:
		m.onSummed(e)
	case SnapshotReceived:
		m.markSeen(e.Peer)
		m.markActive(e.Peer)
		m.onSnapshot(e)
	case LeaveRequested:
		m.onLeave(e)
	case PeerDisconnected:
		m.onDisconnect(e)
	case PeerSeen:
		m.markSeen(e.Peer)
	case Tick:
		m.onTick()
	case CheckpointWritten:
		m.onWritten(e)
	case CheckpointLoaded:
		m.onLoaded(e)
	case CheckpointRequested:
		m.onCheckpointRequest(e)
	case StopRequested:
		m.onStopRequest(e)
	}
	m.settle()
	if m.summing.whole != nil {
		m.abandonStreams() // The step could not be closed although its sum is there.
	}
	return m.effects
}

// Layout of the model; nil until the first worker has joined.
func (m *Machine) Layout() *protocol.Layout { return m.identity.layout }

// State of the run.
func (m *Machine) State() State { return m.state }

// ContentHash is how the run hashes parameters.
func (m *Machine) ContentHash() contenthash.Method { return m.config.Settings.ContentHash }

// Workers is how many have joined and are still there.
func (m *Machine) Workers() int { return len(m.roster.workers) }

// settle does what has become possible: it decides on reported hashes, ends the run, closes the
// open step, finds the step to work on, and answers every held back request that can be answered
// now. Each of these may make another one possible, so it repeats until nothing changes.
func (m *Machine) settle() {
	for changed := true; changed; {
		changed = m.settleHead()
		changed = m.finish() || changed
		m.startSum()
		changed = m.closeStep() || changed
		m.rebase()
		for _, w := range slices.Clone(m.roster.workers) {
			if !w.waiting || m.roster.find(w.peer) != w {
				continue
			}
			reply := m.answer(w)
			if reply == nil {
				m.stream(w)
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

// answer returns what a waiting worker is to do now, or nil when it has to wait. The order of the
// cases matters: a worker is first brought to the open step, then asked for its state if that is
// wanted there, and only then finished or given a lease.
func (m *Machine) answer(w *worker) protocol.Reply {
	if m.state == Stopped {
		return m.stopping(protocol.KindWorkRequest)
	}
	if !m.reachable(w.step) {
		w.needsSnapshot = true
	}
	if w.needsSnapshot {
		return m.answerWithSnapshot(w)
	}
	if aggregate := m.retention.aggregate(w.step); aggregate != nil {
		return aggregate
	}
	saving := &m.retention.saving
	if _, settled := m.agreement.reference(w.step); settled && m.retention.donor == nil && m.donates(w) &&
		(saving.due() || m.snapshotWanted()) {
		m.retention.donor, w.askedAt, w.askedStep = w, m.now, w.step
		return protocol.SnapshotRequest{Step: m.step.number}
	}
	switch {
	case m.retention.donor == w && m.donorWaits():
		return nil // until its state has arrived
	case m.end.draining:
		return nil // until the checkpoint is written; then everyone is told
	case m.step.number == m.totalSteps():
		if m.state != Finished || saving.due() && m.retention.donor != nil {
			// It waits until the workers agree on the result and the last checkpoint has been sent: if the
			// donor does not send it, another worker is needed.
			return nil
		}
		return m.finishedReply()
	}
	return m.lease(w)
}

// answerWithSnapshot gives a worker whose parameters the run cannot use those of another, or of a
// checkpoint.
func (m *Machine) answerWithSnapshot(w *worker) protocol.Reply {
	snapshot := m.retention.snapshot
	switch {
	case m.end.draining:
		return nil
	case snapshot != nil && m.reachable(snapshot.Step):
		w.snapshotSent, w.sentState = true, snapshot.Hash
		return snapshot
	case m.retention.loading || m.retention.saving.writing || m.donorInSight() ||
		m.roster.any(func(other *worker) bool { return other.verified && !other.cannotDonate }):
		// A worker that is silent may hold what the run can continue from, and be it this one itself; so
		// may a checkpoint that is on its way to the disk.
		return nil
	}
	err := protocol.Errorf(protocol.Stop, "no worker and no checkpoint holds parameters of run %s that worker %d (%s) "+
		"could continue from, and its own (after %d steps) are not those of the run; restart it",
		m.config.RunID, w.id, w.name, w.step)
	err.Refused = protocol.KindWorkRequest
	return err
}

func (m *Machine) finishedReply() protocol.Reply {
	return protocol.Finished{Steps: m.agreement.agreedSteps, ParametersHash: m.agreement.agreedHash,
		Incidents: m.figures.incidents, Stopped: m.end.reason()}
}

// stopping refuses a request because the run, or this process's part in it, has ended.
func (m *Machine) stopping(refused protocol.Kind) *protocol.Error {
	if m.end.halted != "" {
		err := protocol.Errorf(protocol.Stop, "%s", m.end.halted)
		err.Refused = refused
		return err
	}
	err := protocol.Errorf(protocol.Reconnect, "the orchestrator of run %s is stopping; connect again when it is back",
		m.config.RunID)
	err.Refused = refused
	return err
}

// reachable reports whether parameters of that many steps can be brought to the open step by the
// aggregates that are kept.
func (m *Machine) reachable(step uint64) bool {
	return step == m.step.number || m.retention.aggregate(step) != nil
}

// replaying reports whether the open step is in the ledger already: the workers that are there need
// its sum again.
func (m *Machine) replaying() bool { return m.step.number < m.agreement.committed() }

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
