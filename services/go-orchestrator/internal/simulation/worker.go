package simulation

import (
	"crypto/sha256"
	"fmt"
	"math"
	"time"

	"pangea.example/pangea/schemas/tensor"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/run"
	"pangea.example/pangea/services/go-orchestrator/internal/tree"
	"pangea.example/pangea/services/go-orchestrator/internal/vector"
)

// connection between a worker and an orchestrator. Messages arrive in order, each after a delay of
// its own.
type connection struct {
	world        *world
	worker       *worker
	orchestrator *orchestrator
	peer         run.Peer
	broken       bool
	up, down     time.Time // when the last message arrives
	stalled      time.Time // nothing arrives until then
	streaming    bool      // the worker is being sent a sum that is not committed
}

func (c *connection) deliver(last *time.Time, do func()) {
	at := c.world.clock.now.Add(c.world.clock.between(100*time.Microsecond, c.world.latency))
	for _, earliest := range []time.Time{*last, c.stalled} {
		if at.Before(earliest) {
			at = earliest
		}
	}
	*last = at
	c.world.clock.at(at, do)
}

func (c *connection) toOrchestrator(event func() run.Event) {
	c.deliver(&c.up, func() {
		if !c.broken && !c.orchestrator.dead {
			c.orchestrator.handle(event())
		}
	})
}

// toWorker reaches a stopped worker only when it resumes.
func (c *connection) toWorker(do func()) {
	c.deliver(&c.down, func() { c.worker.awake(do) })
}

// close is noticed by the orchestrator, sooner or later.
func (c *connection) close(notice time.Duration) {
	if c.broken {
		return
	}
	c.broken = true
	c.world.clock.after(notice, func() {
		if !c.orchestrator.dead {
			delete(c.orchestrator.peers, c.peer)
			c.orchestrator.handle(run.PeerDisconnected{Peer: c.peer, Reason: "closed"})
		}
	})
}

// reply copies what it shares with the machine, now.
func (c *connection) reply(e run.Send) {
	w := c.worker
	switch r := e.Reply.(type) {
	case *protocol.Aggregate:
		sum := gradients(r)
		c.world.delivered(r, sum)
		c.toWorker(func() { w.on(c, func() { w.apply(r.Step, sum, r.Divisor) }) })
	case *protocol.Snapshot:
		content := append([]byte{}, r.Blocks[0]...)
		step, hash := r.Step, r.ParametersHash
		c.toWorker(func() { w.on(c, func() { w.load(step, hash, content) }) })
	default:
		c.toWorker(func() { w.on(c, func() { w.receive(r) }) })
	}
}

// worker is one process; a restarted one is another worker with the same name.
type worker struct {
	world      *world
	name       string
	connection *connection
	step       uint64
	params     []float32
	joined     bool // once at least
	dead, done bool
	stopped    time.Time // by SIGSTOP, until then
	hung       time.Time // does nothing but send heartbeats, until then
	liar       bool
	flips      uint64      // after this many steps a parameter changes by itself; 0 for never
	spoilt     bool        // that has happened, and it still holds these parameters
	current    bool        // it holds what the run does, as a lease or a sum has shown
	nodes      []tree.Node // of the lease, still to be sent
	lease      protocol.Lease
	stop       string // why its script has left its loop
}

func (w *world) startWorker(name string, liar bool) {
	worker := &worker{world: w, name: name, params: initial(w.elements), liar: liar}
	if w.flips && name == "worker-1" {
		worker.flips = 1 + uint64(w.clock.dice.IntN(int(w.schedule.TotalSteps)))
	}
	w.workers = append(w.workers, worker)
	worker.connect()
	worker.beat()
}

// awake does something now, or when the process no longer hangs and is no longer stopped.
func (w *worker) awake(do func()) {
	if w.hung.After(w.world.clock.now) {
		w.world.clock.at(w.hung, func() { w.awake(do) })
		return
	}
	w.running(do)
}

// running does something now, or when the process is no longer stopped, even in one that hangs.
func (w *worker) running(do func()) {
	if w.stopped.After(w.world.clock.now) {
		w.world.clock.at(w.stopped, func() { w.awake(do) })
		return
	}
	if !w.dead && !w.done {
		do()
	}
}

// hang from now on, in whatever it is told to do next.
func (w *worker) hang(pause time.Duration) { w.hung = w.world.clock.now.Add(pause) }

// on does something for a connection, unless the worker has a different one by now.
func (w *worker) on(c *connection, do func()) {
	if w.connection == c && !c.broken {
		do()
	}
}

func (w *worker) after(pause time.Duration, do func()) {
	w.world.clock.after(pause, func() { w.awake(do) })
}

func (w *worker) connect() {
	if w.connection != nil {
		return
	}
	o := w.world.orchestrator
	if o == nil {
		w.after(w.world.clock.between(20*time.Millisecond, 300*time.Millisecond), w.connect)
		return
	}
	w.world.lastPeer++
	c := &connection{world: w.world, worker: w, orchestrator: o, peer: w.world.lastPeer}
	o.peers[c.peer] = c
	w.connection, w.nodes = c, nil
	join := protocol.Join{
		Version: tensor.ProtocolVersion, WorkerName: w.name, Software: "simulated",
		ParametersHash: sha256.Sum256(encode(w.params)), ParametersContentHash: hashOf(w.params), Step: w.step, ProcessID: 1, Heartbeat: 100 * time.Millisecond,
		Parameters: []protocol.Spec{{Name: "p", DType: protocol.Float32, Shape: []uint64{uint64(w.world.elements)}}},
		Dataset:    protocol.Dataset{Name: "simulated", Hash: protocol.Hash{1}, TrainSamples: w.world.samples},
	}
	if w.joined {
		join.RunID = "simulated"
	}
	c.toOrchestrator(func() run.Event { return run.JoinRequested{Peer: c.peer, Join: join} })
}

// lost handles the end of a connection: another one is opened.
func (w *worker) lost(c *connection) {
	if w.connection == c {
		w.connection = nil
		w.after(w.world.clock.between(20*time.Millisecond, 300*time.Millisecond), w.connect)
	}
}

func (w *worker) beat() {
	if w.dead || w.done {
		return
	}
	w.running(func() {
		if c := w.connection; c != nil {
			c.toOrchestrator(func() run.Event { return run.PeerSeen{Peer: c.peer} })
		}
	})
	w.world.clock.after(100*time.Millisecond, w.beat)
}

func (w *worker) ask() {
	c := w.connection
	if c == nil {
		return
	}
	step, hash, stop := w.step, hashOf(w.params), w.stop
	if !w.spoilt {
		w.world.reported(step, hash)
	}
	c.toOrchestrator(func() run.Event {
		return run.WorkRequested{Peer: c.peer, Work: protocol.Work{Step: step, ParametersHash: hash, Stop: stop}}
	})
}

func (w *worker) receive(reply protocol.Reply) {
	c := w.connection
	switch r := reply.(type) {
	case protocol.Joined:
		w.joined, w.current = true, false
		w.ask()
	case protocol.Lease:
		if r.Step != w.step {
			w.world.violate("%s holds step %d and was leased shards of step %d", w.name, w.step, r.Step)
		}
		w.lease, w.nodes, w.current = r, nodes(r), true
		pause := w.world.clock.between(time.Millisecond, w.world.slowness)
		if w.world.faulty() && w.world.clock.chance(0.03) {
			w.world.fault("straggler")
			pause *= 50
		}
		if wait := w.world.dataless.Sub(w.world.clock.now); wait > 0 {
			pause += wait // it asks the data service repeatedly
		}
		w.after(pause, func() { w.on(c, w.submit) })
	case protocol.Ack:
		if r.Verdict == protocol.Refused || r.Verdict == protocol.TooEarly || r.Verdict == protocol.Conflict &&
			!w.world.lies && w.world.flipped == 0 {
			w.world.violate("an update of %s was not accepted: %s %s", w.name, r.Verdict, r.Detail)
		}
		w.submit()
	case protocol.SnapshotRequest:
		if w.world.faulty() && w.world.clock.chance(0.1) {
			w.world.fault("donor hangs", w.name)
			w.hang(w.world.clock.between(time.Second, 40*time.Second))
		}
		w.awake(func() { w.on(c, w.donate) })
	case protocol.Finished:
		w.done = true
		w.world.finished(w, r)
		c.close(time.Millisecond)
	case *protocol.Error:
		w.refused(c, r)
	}
}

// donate sends its state, beside what it does next.
func (w *worker) donate() {
	c, content := w.connection, encode(w.params)
	if w.liar {
		w.world.fault("state spoilt", w.name)
		content[len(content)-1] ^= 1
	}
	snapshot := protocol.NewSnapshot(w.step, hashOf(w.params), [][]byte{content}, uint64(len(content)),
		sha256.Sum256(content), func() {})
	wrong := ""
	if hashOf(decode(content)) != snapshot.ParametersHash && w.world.sabotage != UncheckedState {
		wrong = "its parameters have a different hash"
	}
	send := func() {
		c.toOrchestrator(func() run.Event {
			return run.SnapshotReceived{Peer: c.peer, Snapshot: snapshot, Wrong: wrong}
		})
	}
	if w.world.quickDisk {
		send()
	} else {
		w.after(w.world.clock.between(0, 4*w.world.slowness), func() { w.on(c, send) })
	}
	w.ask()
}

func (w *worker) refused(c *connection, err *protocol.Error) {
	switch err.Action {
	case protocol.Resync:
		w.world.resynced++
		w.step, w.spoilt = 0, true
		c.close(time.Millisecond)
		w.lost(c)
	case protocol.Reconnect, protocol.RetryLater:
		c.close(time.Millisecond)
		w.lost(c)
	default:
		if !w.liar {
			w.world.violate("%s was sent away: %s", w.name, err.Detail)
		}
		w.world.sentAway++
		w.dead = true
		c.close(time.Millisecond)
	}
}

// nodes of a lease, as a worker groups its shards.
func nodes(lease protocol.Lease) []tree.Node {
	var all []tree.Node
	var together []uint32
	flush := func() {
		all = append(all, tree.Cover(together)...)
		together = nil
	}
	separate := map[uint32]bool{}
	for _, shard := range lease.Separate {
		separate[shard] = true
	}
	for _, shard := range lease.Shards {
		if separate[shard] {
			flush()
			all = append(all, tree.Node{First: shard, Count: 1})
		} else {
			together = append(together, shard)
		}
	}
	flush()
	return all
}

// submit sends the next node of the lease, or asks for work after the last.
func (w *worker) submit() {
	c := w.connection
	if c == nil {
		return
	}
	if len(w.nodes) == 0 {
		w.ask()
		return
	}
	node := w.nodes[0]
	w.nodes = w.nodes[1:]
	u := protocol.Update{Step: w.lease.Step, FirstShard: node.First, ShardCount: node.Count}
	sums := make([][]float32, node.Count)
	for i := range node.Count {
		shard := node.First + i
		samples := w.world.schedule.ShardSamples(w.lease.Step, shard)
		weight := w.world.weights.weight(w.lease.Step, shard, samples)
		sums[i] = gradient(w.world.seed, w.lease.Step, shard, weight, w.params)
		u.Reports = append(u.Reports, protocol.Report{Shard: shard, Samples: uint32(samples),
			LossSum:   lossSum(w.lease.Step, shard, weight),
			BatchHash: batchHash(w.world.seed, w.lease.Epoch, w.lease.EpochStep, shard), Weight: weight,
			Summed: w.world.weights == summed && samples > 0,
			Stop:   w.world.early.asksForEnd(w.lease.Step, samples)})
	}
	for len(sums) > 1 {
		for i := range len(sums) / 2 {
			for j := range sums[2*i] {
				sums[2*i][j] += sums[2*i+1][j]
			}
			sums[i] = sums[2*i]
		}
		sums = sums[:len(sums)/2]
	}
	if w.liar && w.world.clock.chance(0.3) {
		sums[0][0]++
	}
	if w.world.sabotage == FlippedGradient && w.world.clock.chance(0.02) {
		sums[0][0] = math.Float32frombits(math.Float32bits(sums[0][0]) ^ 1)
	}
	data := encode(sums[0])
	c.toOrchestrator(func() run.Event {
		builder := c.orchestrator.pool.Build(w.world.elements)
		if err := builder.Write(data); err != nil {
			panic(fmt.Sprint("a simulated gradient cannot be built: ", err))
		}
		var digest vector.Digest
		u.Gradients, digest = builder.Finish()
		u.Digest = digest
		return run.UpdateReceived{Peer: c.peer, Update: u}
	})
}

func (w *worker) apply(step uint64, sum []float32, divisor float64) {
	if step != w.step {
		w.world.violate("%s holds step %d and was given the sum of step %d", w.name, w.step, step)
		return
	}
	w.params = update(w.params, sum, divisor)
	w.step++
	w.current = true
	if w.flips > 0 && w.step >= w.flips && w.world.contested(w) {
		w.world.note("a parameter of %s changes by itself", w.name)
		w.params[0]++
		w.flips, w.spoilt = 0, true
		w.world.flipped++
	}
	w.ask()
}

func (w *worker) load(step uint64, hash protocol.Hash, content []byte) {
	w.params, w.step, w.spoilt = decode(content), step, false
	if hashOf(w.params) != hash {
		w.world.violate("%s was given a snapshot of step %d that does not match its hash", w.name, step)
	}
	w.ask()
}

// kill the process as by kill -9, and start a new one with the same name after a while.
func (w *worker) kill() {
	w.world.kills++
	if c := w.connection; c != nil {
		c.close(w.world.clock.between(100*time.Microsecond, 5*time.Millisecond))
	}
	w.end()
}

// leave as a worker does on SIGTERM.
func (w *worker) leave() {
	if c := w.connection; c != nil && w.joined {
		c.toOrchestrator(func() run.Event {
			return run.LeaveRequested{Peer: c.peer, Leave: protocol.Leave{Reason: "stopped by SIGTERM"}}
		})
		w.world.clock.at(c.up.Add(time.Millisecond), func() { c.close(time.Millisecond) })
	}
	w.end()
}

func (w *worker) end() {
	w.dead = true
	w.world.clock.after(w.world.clock.between(50*time.Millisecond, 3*time.Second),
		func() { w.world.startWorker(w.name, false) })
}

// partition breaks the connection; the orchestrator may not notice for a long time.
func (w *worker) partition() {
	c := w.connection
	if c == nil {
		return
	}
	c.close(w.world.clock.between(time.Millisecond, 20*time.Second))
	w.after(w.world.clock.between(time.Millisecond, time.Second), func() { w.lost(c) })
}

// stall holds up all that is sent on the connection, in both directions, for a while; then it
// arrives.
func (w *worker) stall() {
	if c := w.connection; c != nil {
		c.stalled = w.world.clock.now.Add(w.world.clock.between(50*time.Millisecond, 5*time.Second))
	}
}
