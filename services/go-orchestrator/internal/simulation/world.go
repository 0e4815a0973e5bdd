package simulation

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/run"
)

// History is what happened in one simulated run, for a checker that shares no code with this
// package.
type History struct {
	Seed         uint64            `json:"seed"`
	Lies         bool              `json:"lies"` // worker-1 computes wrong bits now and then
	Ledger       string            `json:"ledger"`
	Shards       uint32            `json:"shards"`
	BatchSize    uint32            `json:"batch_size"`
	Epochs       uint32            `json:"epochs"`
	TrainSamples uint64            `json:"train_samples"`
	Elements     int               `json:"elements"`
	Final        string            `json:"final"`
	Deliveries   []Delivery        `json:"deliveries"`
	Hashes       map[string]string `json:"hashes"`
	Metrics      []run.MetricsLine `json:"metrics"`
	Violations   []string          `json:"violations"`
	Kills        int               `json:"kills"`
	SentAway     int               `json:"sent_away"` // workers that lied and were caught
	Flipped      int               `json:"flipped"`   // parameters that changed by themselves
	// Times that a worker was told to drop its parameters.
	Resynced     int               `json:"resynced"`
	Recomputed   uint64            `json:"recomputed"` // committed steps that were recomputed
	Seconds      float64           `json:"seconds"`    // simulated
	Acknowledged []Acknowledgement `json:"acknowledged"`
	Checkpoints  map[string]string `json:"checkpoints"` // content of those that exist at the end
	Faults       map[string]int    `json:"faults"`      // how often each kind occurred

	MinShardSamples uint32    `json:"min_shard_samples"`
	DropLast        bool      `json:"drop_last"`
	Weights         weighting `json:"weights"`
	EndsAfter       uint64    `json:"ends_after"` // steps
	// Reasons for which scripts end the run before its last step.
	Stops []string `json:"stops"`
}

// Delivery is an aggregate that a worker was given. Acknowledged is how many bytes of the ledger
// were committed then.
type Delivery struct {
	Step         uint64 `json:"step"`
	Aggregate    string `json:"aggregate"`
	Hash         string `json:"hash"`
	Acknowledged int64  `json:"acknowledged"`

	Divisor float64 `json:"divisor"`
}

// Acknowledgement is the end of a commit to the ledger: that many bytes, the last record with this
// chain hash.
type Acknowledgement struct {
	Bytes int64  `json:"bytes"`
	Chain string `json:"chain"`
}

// How long faults occur, and how long the whole run may take.
const (
	faultySeconds = 15 * time.Second
	limit         = 300 * time.Second
)

type world struct {
	clock    *clock
	seed     uint64
	settings protocol.Settings
	schedule run.Schedule
	samples  uint64
	elements int

	latency, slowness time.Duration
	crashes           float64 // chance of a death at each of the ledger's points
	lies              bool    // one worker computes wrong bits
	flips             bool    // one worker has faulty memory
	stops             bool    // everything is stopped cleanly, or killed, and started again
	quickDisk         bool    // checkpoints are written in no time
	hangs             bool    // workers hang but still send heartbeats
	early             early   // a script ends the run before its last step
	verify            float64
	weights           weighting
	checkpointSteps   uint64

	late         lateness
	sabotage     Sabotage
	dataless     time.Time // no batch is served until then
	acknowledged int64     // bytes of the ledger
	disk         *disk
	ahead        int64 // bytes that the ledger's file grows by; 0 for those of its records alone
	checkpoints  map[string][]byte
	metrics      []run.MetricsLine
	orchestrator *orchestrator
	workers      []*worker
	beginners    int // the first of them
	lastPeer     run.Peer

	newest, owed      uint64 // step of the newest checkpoint; steps that restarts had to recompute
	recomputed        uint64
	kills, sentAway   int
	flipped, resynced int
	began             time.Time
	ended             bool
	seen              map[string]struct{}
	history           History
	log               func(string)
	starts            func(ledger []byte) // takes what each process finds on the disk; nil for none
}

// Simulate plays the history of a seed. log takes what happens, line by line; nil for none.
func Simulate(seed uint64, sabotage Sabotage, log func(string)) History {
	return simulate(seed, sabotage, log, nil)
}

func simulate(seed uint64, sabotage Sabotage, log func(string), starts func([]byte)) History {
	c := newClock(seed)
	w := &world{late: newLateness(seed), sabotage: sabotage, clock: c, seed: seed, checkpoints: map[string][]byte{},
		seen: map[string]struct{}{}, log: log, starts: starts, began: c.now,
		ahead: []int64{0, 1 << 10, 4 << 10}[seed/10%3]}
	w.disk = &disk{dice: c.dice, dirty: map[int]bool{}, lying: sabotage == NoSync}
	w.settings = protocol.Settings{Seed: seed, Shards: 1 << c.dice.IntN(4), BatchSize: uint32(4 + c.dice.IntN(13)),
		Epochs: uint32(1 + c.dice.IntN(3)), ContentHash: contentHash}
	w.settings.MinShardSamples, w.settings.DropLast = uint32(seed%4), seed%7 == 3
	w.weights = []weighting{bySamples, unequal, summed}[seed%3]
	w.samples = uint64(w.settings.BatchSize)*uint64(2+c.dice.IntN(4)) + uint64(c.dice.IntN(int(w.settings.BatchSize)))
	if w.settings.DropLast {
		w.samples += uint64(w.settings.BatchSize) // as many steps as without it
	}
	w.elements = 1 + c.dice.IntN(6)
	w.latency = c.between(time.Millisecond, 30*time.Millisecond)
	w.slowness = c.between(5*time.Millisecond, 300*time.Millisecond)
	w.crashes = []float64{0, 0.002, 0.01, 0.03}[c.dice.IntN(4)]
	w.verify = []float64{0, 0, 0.1, 1}[c.dice.IntN(4)]
	w.checkpointSteps = uint64(c.dice.IntN(5))
	count := 1 + c.dice.IntN(4)
	if w.lies = seed%10 == 9; w.lies {
		// Who is wrong can be determined only while others compute the same: nobody else dies here.
		w.crashes, w.verify, count = 0, 1, 4
	}
	if w.flips = seed%10 == 8; w.flips {
		// The same holds for wrong parameters; with only two workers it takes a recomputation from a
		// checkpoint.
		w.crashes, w.checkpointSteps, count = 0, 1+w.checkpointSteps, 2+count%3
	}
	if w.stops = seed%10 == 7; w.stops {
		// How much must be recomputed is known only if nothing else goes wrong.
		w.crashes, w.checkpointSteps, w.quickDisk = 0, 1+w.checkpointSteps, seed/10%2 == 0
	}
	if w.hangs = seed%10 == 6; w.hangs {
		w.crashes, count = 0, 2+count%3
	}
	schedule, err := run.NewSchedule(w.settings, w.samples)
	if err != nil {
		panic(err)
	}
	w.schedule = schedule
	w.early = w.endEarly(seed)
	w.history = History{Seed: seed, Lies: w.lies, Checkpoints: map[string]string{}, Faults: map[string]int{},
		Shards: w.settings.Shards, BatchSize: w.settings.BatchSize, Epochs: w.settings.Epochs, TrainSamples: w.samples,
		Elements: w.elements,
		Hashes:   map[string]string{}, Violations: []string{}, MinShardSamples: w.settings.MinShardSamples,
		DropLast: w.settings.DropLast, Weights: w.weights}
	w.startOrchestrator()
	w.beginners = count
	for i := range count {
		name := fmt.Sprintf("worker-%d", i+1)
		liar := w.lies && i == 0
		pause := c.between(0, 300*time.Millisecond)
		if liar {
			// the others join first, so that it can always be determined who is wrong
			pause += 400 * time.Millisecond
		}
		c.after(pause, func() { w.startWorker(name, liar) })
	}
	switch {
	case w.stops:
		w.stopAll(2 + c.dice.IntN(3))
	case w.hangs:
		w.hangAllBut(c.dice.IntN(count))
	case !w.calm():
		c.after(c.between(0, 500*time.Millisecond), w.disturb)
	}
	c.run(limit, func() bool { return w.ended && w.orchestrator != nil || len(w.history.Violations) > 0 })
	w.close()
	return w.history
}

func (w *world) config() run.Config {
	return run.Config{RunID: "simulated", Settings: w.settings, MemoryBytes: 1 << 30, KeepBytes: int64(w.seed % 3 * 40),
		CheckpointSteps: w.checkpointSteps,
		KeepCheckpoints: 2, VerifyFraction: w.verify, StragglerK: 5, Strict: true}
}

// calm reports whether nothing goes wrong except for what the history is about.
func (w *world) calm() bool { return w.lies || w.flips || w.stops || w.hangs }

// faulty reports whether things still go wrong.
func (w *world) faulty() bool { return !w.calm() && w.clock.now.Sub(w.began) < faultySeconds }

// disturb causes one fault, and schedules the next.
func (w *world) disturb() {
	if !w.faulty() {
		return
	}
	c := w.clock
	alive := slices.DeleteFunc(slices.Clone(w.workers), func(worker *worker) bool { return worker.dead || worker.done })
	var worker *worker
	if len(alive) > 0 {
		worker = alive[c.dice.IntN(len(alive))]
	}
	switch dice := c.dice.IntN(100); {
	case dice < 10 && w.orchestrator != nil:
		w.note("the orchestrator is killed")
		w.orchestrator.die()
	case dice < 13:
		w.fault("disk full")
		w.disk.full = true
		c.after(c.between(10*time.Millisecond, time.Second), func() { w.disk.full = false })
	case dice < 15:
		w.fault("sync fails")
		w.disk.failing = true
		c.after(c.between(10*time.Millisecond, time.Second), func() { w.disk.failing = false })
	case dice < 17 && w.orchestrator != nil:
		w.fault("orchestrator stopped")
		w.orchestrator.stop()
	case dice < 20:
		w.fault("no data")
		w.dataless = c.now.Add(c.between(10*time.Millisecond, 3*time.Second))
	case worker == nil:
	case dice < 24:
		w.fault("all workers killed")
		for _, each := range alive {
			each.kill()
		}
	case dice < 48:
		w.fault("worker killed", worker.name)
		worker.kill()
	case dice < 53:
		w.fault("worker leaves", worker.name)
		worker.leave()
	case dice < 57:
		w.fault("worker hangs", worker.name)
		worker.hang(c.between(time.Second, 40*time.Second))
	case dice < 66:
		w.fault("worker paused", worker.name)
		worker.stopped = c.now.Add(c.between(50*time.Millisecond, 10*time.Second))
	case dice < 76:
		w.fault("partition", worker.name)
		worker.partition()
	case dice < 86:
		w.fault("partition that heals", worker.name)
		worker.stall()
	default:
		w.fault("late joiner")
		w.startWorker(fmt.Sprintf("worker-%d", len(w.workers)+1), false)
	}
	c.after(c.between(10*time.Millisecond, 1500*time.Millisecond), w.disturb)
}

// contested reports whether another worker holds the same parameters: what only one holds nobody
// can contest, and it counts as the run's.
func (w *world) contested(one *worker) bool {
	return slices.ContainsFunc(w.workers, func(other *worker) bool {
		return other != one && other.joined && !other.dead && other.current && other.step >= one.step
	})
}

// reported keeps the hash of the parameters after a step; all workers must report the same.
func (w *world) reported(step uint64, hash protocol.Hash) {
	key := fmt.Sprint(step)
	if known, is := w.history.Hashes[key]; is && known != hash.String() {
		w.violate("after %d steps one worker has parameters %s, another %s", step, known, hash)
	}
	w.history.Hashes[key] = hash.String()
}

func (w *world) finished(worker *worker, r protocol.Finished) {
	if worker.step != r.Steps || hashOf(worker.params) != r.ParametersHash {
		w.violate("%s was finished after %d steps and holds %d of %d", worker.name, r.Steps, worker.step,
			w.schedule.TotalSteps)
	}
	w.checkEnd(r)
	w.history.Final = hex.EncodeToString(encode(worker.params))
	w.ended = true
}

// close records what the checker needs.
func (w *world) close() {
	if !w.ended {
		w.violate("the run has not ended after %v", w.clock.now.Sub(w.began))
	}
	w.history.EndsAfter, w.history.Stops = w.early.steps, []string{}
	if w.early.shards || w.early.leaves {
		w.history.Stops = append(w.history.Stops, enough)
	}
	// As a clean stop would leave it.
	w.history.Ledger = strings.TrimRight(string(w.disk.current), "\n") + "\n"
	w.history.Metrics = w.metrics
	for file, content := range w.checkpoints {
		w.history.Checkpoints[file] = hex.EncodeToString(content)
	}
	if o := w.orchestrator; o != nil {
		w.recomputed += o.machine.Status().RecomputedSteps
	}
	w.checkScenario()
	w.history.Kills, w.history.Recomputed = w.kills, w.recomputed
	w.history.SentAway = w.sentAway
	w.history.Flipped, w.history.Resynced = w.flipped, w.resynced
	w.history.Seconds = w.clock.now.Sub(w.began).Seconds()
}

// fault counts what goes wrong, so that a test can check that all kinds occur.
func (w *world) fault(kind string, who ...any) {
	w.history.Faults[kind]++
	w.note("%s %v", kind, who)
}

func (w *world) violate(format string, args ...any) {
	w.note("VIOLATION: "+format, args...)
	w.history.Violations = append(w.history.Violations, fmt.Sprintf(format, args...))
}

func (w *world) note(format string, args ...any) {
	if w.log != nil {
		w.log(fmt.Sprintf("%8.3f ", w.clock.now.Sub(w.began).Seconds()) + fmt.Sprintf(format, args...))
	}
}

// sorted keys, because the order of a map would not come from the seed.
func sorted[V any](m map[run.Peer]V) []run.Peer { return slices.Sorted(maps.Keys(m)) }
