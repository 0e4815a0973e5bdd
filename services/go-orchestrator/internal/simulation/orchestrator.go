package simulation

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/adder"
	"pangea.example/pangea/services/go-orchestrator/internal/budget"
	"pangea.example/pangea/services/go-orchestrator/internal/failpoint"
	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/run"
	"pangea.example/pangea/services/go-orchestrator/internal/vector"
)

// orchestrator is one process: the state machine, its ledger, and its end of the connections.
type orchestrator struct {
	world   *world
	machine *run.Machine
	ledger  *ledger.Ledger
	commits int
	pool    *vector.Pool
	adder   *adder.Adder
	peers   map[run.Peer]*connection
	sums    []run.Summed // made at once, to be handled next
	dead    bool
	ending  time.Time // until when it waits for a last checkpoint; zero unless it was asked to stop
}

// died is the panic of a process that is killed in the middle of something.
type died struct{}

// startOrchestrator starts a process on what the disk holds.
func (w *world) startOrchestrator() {
	o := &orchestrator{world: w, peers: map[run.Peer]*connection{}, pool: vector.NewPool(budget.New("simulation", 1<<30))}
	o.adder = adder.New(o.pool)
	w.orchestrator = nil
	defer o.survive()
	if w.starts != nil {
		w.starts(w.disk.current)
	}
	opened, records, err := ledger.OpenStreamed(w.disk, o.hit)
	if err != nil {
		var damaged *ledger.DamagedError
		if errors.As(err, &damaged) || !w.disk.full && !w.disk.failing {
			w.violate("the ledger cannot be opened after a crash: %v", err)
			return
		}
		w.clock.after(200*time.Millisecond, w.startOrchestrator)
		return
	}
	o.ledger = opened
	o.ledger.WriteAhead(w.ahead)
	past := run.Past{Records: records, Lines: uint64(len(w.metrics)),
		Checkpoints: func(c ledger.Checkpoint) bool { return w.checkpoints[c.File] != nil }}
	machine, effects, err := run.Open(w.config(), w.clock.now, past)
	if err != nil {
		w.violate("the run cannot be opened after a crash: %v", err)
		return
	}
	o.machine = machine
	w.orchestrator = o
	o.carryOut(effects)
	o.meetStranger()
	o.tick()
}

// hit kills the process at one of the ledger's failpoints now and then.
func (o *orchestrator) hit(failpoint.Point) {
	if o.world.faulty() && o.world.clock.chance(o.world.crashes) {
		panic(died{})
	}
}

// survive confines the death of the process to this orchestrator.
func (o *orchestrator) survive() {
	if reason := recover(); reason != nil {
		if _, is := reason.(died); !is {
			panic(reason)
		}
		o.die()
	}
}

// die as by kill -9, or by a power loss of the whole machine, after which what was not synced may
// be lost.
func (o *orchestrator) die() {
	if o.dead {
		return
	}
	w := o.world
	w.kills++
	if w.clock.chance(0.5) {
		w.fault("loss of power")
		w.disk.losePower()
		// metrics.jsonl is not synced.
		w.metrics = w.metrics[:w.clock.dice.IntN(len(w.metrics)+1)]
	} else {
		w.fault("orchestrator killed")
	}
	o.end()
}

// end breaks the connections, and starts another process after a while.
func (o *orchestrator) end() {
	w := o.world
	o.dead = true
	if o.machine != nil {
		w.recomputed += o.machine.Status().RecomputedSteps
	}
	w.orchestrator = nil
	for _, id := range sorted(o.peers) {
		c := o.peers[id]
		c.toWorker(func() { c.worker.lost(c) })
	}
	w.clock.after(w.clock.between(10*time.Millisecond, 800*time.Millisecond), w.startOrchestrator)
}

func (o *orchestrator) tick() {
	if o.dead {
		return
	}
	o.handle(run.Tick{})
	if !o.ending.IsZero() && !o.dead && (!o.machine.Saving() || o.world.clock.now.After(o.ending)) {
		o.handle(run.StopRequested{Reason: "asked to stop", AtOnce: true})
		o.close()
		return
	}
	o.world.clock.after(50*time.Millisecond, o.tick)
}

// stop it as by SIGTERM: it waits for a last checkpoint, but not forever.
func (o *orchestrator) stop() {
	if o.ending.IsZero() {
		o.ending = o.world.clock.now.Add(15 * time.Second)
		o.handle(run.StopRequested{Reason: "asked to stop"})
	}
}

// close ends the process in good order.
func (o *orchestrator) close() {
	if o.dead {
		return
	}
	defer o.survive()
	_ = o.ledger.Close() // an error is what the next process has to cope with
	o.end()
}

// settle writes the slot of the last commit, if no other one has followed it.
func (o *orchestrator) settle(commits int) {
	if o.dead || o.commits != commits {
		return
	}
	defer o.survive()
	_ = o.ledger.Settle() // the next commit has the same error
}

func (o *orchestrator) handle(event run.Event) {
	if o.dead {
		return
	}
	defer o.survive()
	o.carryOut(o.machine.Handle(o.world.clock.now, event))
	for len(o.sums) > 0 {
		next := o.sums[0]
		o.sums = o.sums[1:]
		o.carryOut(o.machine.Handle(o.world.clock.now, next))
	}
}

func (o *orchestrator) carryOut(effects []run.Effect) {
	w := o.world
	if w.sabotage == LateCommit {
		effects = commitsLast(effects)
	}
	for _, effect := range effects {
		switch e := effect.(type) {
		case run.Send:
			if c := o.peers[e.Peer]; c != nil {
				c.streaming = false
				c.reply(e)
			}
		case run.Stream:
			o.stream(e)
		case run.Abandon:
			o.abandon()
		case run.Commit:
			if err := o.ledger.Append(e.Records...); err != nil {
				w.fault("ledger not written")
				panic(died{}) // the shell stops the process; what was not sent by then is never sent
			}
			o.commits++
			commits := o.commits
			w.clock.after(20*time.Millisecond, func() { o.settle(commits) })
			w.acknowledged = o.ledger.Bytes()
			w.history.Acknowledged = append(w.history.Acknowledged, Acknowledgement{w.acknowledged, w.disk.head(w.acknowledged)})
		case run.Sum:
			o.sum(e)
		case run.WriteMetrics:
			w.metrics = append(w.metrics, e.Line)
		case run.WriteCheckpoint:
			o.save(e)
		case run.LoadCheckpoint:
			w.clock.after(w.clock.between(time.Millisecond, 100*time.Millisecond), func() { o.load(e.Checkpoint) })
		case run.RemoveCheckpoint:
			delete(w.checkpoints, e.Checkpoint.File)
		case run.Note:
			w.note("%s %v", e.Message, e.Args)
			if e.Level >= slog.LevelError && !w.expected(e.Message) {
				w.violate("an error was logged without a reason: %s %v", e.Message, e.Args)
			}
		}
	}
}

func (o *orchestrator) save(e run.WriteCheckpoint) {
	w, s := o.world, e.Snapshot
	c := ledger.Checkpoint{Step: s.Step, File: ledger.CheckpointFile(s.Step), Bytes: s.TotalBytes, SHA256: s.Hash,
		ParamsHash: s.ParametersHash}
	content := append([]byte{}, s.Blocks[0]...)
	s.Release()
	pause := w.clock.between(time.Millisecond, 150*time.Millisecond)
	if w.quickDisk {
		pause = 0
	}
	w.clock.after(pause, func() {
		if o.dead {
			return
		}
		if w.faulty() && w.clock.chance(0.1) {
			w.fault("checkpoint not written")
			o.handle(run.CheckpointWritten{Checkpoint: c, Err: errFull})
			return
		}
		w.checkpoints[c.File], w.newest = content, max(w.newest, c.Step)
		o.handle(run.CheckpointWritten{Checkpoint: c})
	})
}

func (o *orchestrator) load(c ledger.Checkpoint) {
	content := o.world.checkpoints[c.File]
	if len(content) > 0 && o.world.faulty() && o.world.clock.chance(0.1) {
		o.world.fault("checkpoint damaged")
		content = append([]byte{}, content...)
		content[o.world.clock.dice.IntN(len(content))] ^= 1
	}
	if sha256.Sum256(content) != c.SHA256 && o.world.sabotage != UncheckedCheckpoint {
		o.handle(run.CheckpointLoaded{Checkpoint: c, Err: fmt.Errorf("%s is damaged", c.File)})
		return
	}
	o.handle(run.CheckpointLoaded{Checkpoint: c, Snapshot: protocol.NewSnapshot(c.Step, c.ParamsHash, [][]byte{content},
		c.Bytes, c.SHA256, func() {})})
}

// gradients of an aggregate, as they would arrive at a worker.
func gradients(a *protocol.Aggregate) []float32 {
	var all []float32
	for _, block := range a.Gradients.Blocks() {
		all = append(all, block...)
	}
	return all
}

func (w *world) delivered(a *protocol.Aggregate, sum []float32) {
	key := fmt.Sprintf("%d %s %v", a.Step, a.Hash, a.Divisor)
	if _, known := w.seen[key]; known {
		return
	}
	w.seen[key] = struct{}{}
	w.history.Deliveries = append(w.history.Deliveries, Delivery{a.Step, hex.EncodeToString(encode(sum)),
		a.Hash.String(), w.acknowledged, a.Divisor})
}
