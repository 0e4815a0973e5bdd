package run

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pangea.example/pangea/schemas/tensor"
	"pangea.example/pangea/services/go-orchestrator/internal/adder"
	"pangea.example/pangea/services/go-orchestrator/internal/budget"
	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/vector"
)

// bench drives a machine and keeps what it answers.
type bench struct {
	t       *testing.T
	machine *Machine
	pool    *vector.Pool
	adder   *adder.Adder
	sums    []Summed // that have been made and not been handled
	slow    bool     // sums are handled only by finishSums

	streams   []Stream
	abandoned int // times that all streams were
	now       time.Time
	request   uint64
	replies   map[Peer][]protocol.Reply
	lines     []MetricsLine
	records   []Record
	loads     int // of checkpoints, asked for
	notes     []Note

	committed []ledger.Record
}

// Two parameters of 3 elements; 20 samples in steps of 8 over 4 shards: 3 steps, the last one of 4
// samples.
func newBench(t *testing.T) *bench {
	return newBenchWith(t, protocol.Settings{Seed: 1, Shards: 4, BatchSize: 8, Epochs: 1})
}

func newBenchWith(t *testing.T, settings protocol.Settings) *bench {
	machine, effects, err := Open(Config{RunID: "test", Settings: settings, MemoryBytes: 1 << 20, KeepBytes: 0,
		StragglerK: 5}, time.Unix(1000, 0), Past{})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{
		t:       t,
		machine: machine,
		pool:    vector.NewPool(budget.New("test", 1<<20)),
		now:     time.Unix(1000, 0),
		replies: map[Peer][]protocol.Reply{},
	}
	b.adder = adder.New(b.pool)
	b.carryOut(effects)
	return b
}

func (b *bench) handle(event Event) {
	b.now = b.now.Add(time.Second)
	b.carryOut(b.machine.Handle(b.now, event))
	if !b.slow {
		b.finishSums()
	}
}

// finishSums handles the sums that the machine has asked for, and those that it asks for then.
func (b *bench) finishSums() {
	for len(b.sums) > 0 {
		next := b.sums[0]
		b.sums = b.sums[1:]
		b.carryOut(b.machine.Handle(b.now, next))
	}
}

func (b *bench) carryOut(effects []Effect) {
	for _, effect := range effects {
		switch e := effect.(type) {
		case Send:
			b.replies[e.Peer] = append(b.replies[e.Peer], e.Reply)
		case Sum:
			b.sums = append(b.sums, Summed{e.Generation, b.adder.Add(e.Sum)})
			e.Sum.Release()
		case Stream:
			b.streams = append(b.streams, e)
		case Abandon:
			b.abandoned++
		case WriteMetrics:
			b.lines = append(b.lines, e.Line)
		case Commit:
			b.committed = append(b.committed, e.Records...)
		case LoadCheckpoint:
			b.loads++
		case Note:
			b.notes = append(b.notes, e)
		case WriteRecord:
			b.records = append(b.records, e.Record)
		}
	}
}

// take returns the replies that a peer got since the last call.
func (b *bench) take(peer Peer) []protocol.Reply {
	replies := b.replies[peer]
	delete(b.replies, peer)
	return replies
}

func one[T protocol.Reply](b *bench, peer Peer) T {
	b.t.Helper()
	replies := b.take(peer)
	if len(replies) != 1 {
		b.t.Fatalf("peer %d got %d replies: %v", peer, len(replies), replies)
	}
	reply, is := replies[0].(T)
	if !is {
		b.t.Fatalf("peer %d got a %T: %v", peer, replies[0], replies[0])
	}
	return reply
}

func testJoin() protocol.Join {
	return protocol.Join{
		Version: tensor.ProtocolVersion, WorkerName: "w", ParametersHash: hashAt(0),
		Parameters: []protocol.Spec{{Name: "a", DType: protocol.Float32, Shape: []uint64{2}},
			{Name: "b", DType: protocol.Float32, Shape: []uint64{1}}},
		Dataset: protocol.Dataset{Name: "d", Hash: protocol.Hash{7}, TrainSamples: 20},
	}
}

// hashAt is the hash of the parameters after this many steps.
func hashAt(step uint64) protocol.Hash { return protocol.Hash{byte(step), 42} }

func (b *bench) join(peer Peer) protocol.Joined {
	b.t.Helper()
	b.handle(JoinRequested{Peer: peer, Join: testJoin()})
	return one[protocol.Joined](b, peer)
}

func (b *bench) ask(peer Peer, step uint64) {
	b.request++
	b.handle(WorkRequested{Peer: peer, Request: b.request, Work: protocol.Work{Step: step, ParametersHash: hashAt(step)}})
}

// update of shards whose every gradient element is value; samples as the schedule says.
func (b *bench) update(step uint64, first, count uint32, value float32) protocol.Update {
	b.t.Helper()
	builder := b.pool.Build(3)
	if err := builder.Write(vector.Bytes([]float32{value, value, value})); err != nil {
		b.t.Fatal(err)
	}
	gradients, digest := builder.Finish()
	u := protocol.Update{Step: step, FirstShard: first, ShardCount: count, Gradients: gradients, Digest: digest}
	for shard := first; shard < first+count; shard++ {
		samples := uint32(2)
		if step == 2 {
			samples = 1
		}
		u.Reports = append(u.Reports, protocol.Report{Shard: shard, Samples: samples, LossSum: 1, Weight: float64(samples)})
	}
	return u
}

func (b *bench) submit(peer Peer, u protocol.Update) protocol.Ack {
	b.t.Helper()
	b.handle(UpdateReceived{Peer: peer, Update: u})
	replies := b.take(peer)
	if len(replies) == 0 {
		b.t.Fatal("no answer to an update")
	}
	return replies[0].(protocol.Ack)
}

func (b *bench) wantShards(peer Peer, shards ...uint32) {
	b.t.Helper()
	if lease := one[protocol.Lease](b, peer); !slices.Equal(lease.Shards, shards) {
		b.t.Fatalf("peer %d leases %v; want %v", peer, lease.Shards, shards)
	}
}

func TestARunOfOneWorker(t *testing.T) {
	b := newBench(t)
	if joined := b.join(1); joined.WorkerID != 1 || joined.TotalSteps != 3 {
		t.Fatalf("%+v", joined)
	}
	for step := range uint64(3) {
		b.ask(1, step)
		b.wantShards(1, 0, 1, 2, 3)
		if ack := b.submit(1, b.update(step, 0, 4, float32(step))); ack.Verdict != protocol.Accepted {
			t.Fatalf("%+v", ack)
		}
		b.ask(1, step)
		if a := one[*protocol.Aggregate](b, 1); a.Step != step || a.LossSum != 4 ||
			a.Gradients.Blocks()[0][2] != float32(step) {
			t.Fatalf("%+v", a)
		}
	}
	b.ask(1, 3)
	if end := one[protocol.Finished](b, 1); end.Steps != 3 || end.ParametersHash != hashAt(3) {
		t.Fatalf("%+v", end)
	}
	if len(b.lines) != 3 || b.lines[2].Samples != 4 || b.lines[2].ParamsHash != hashAt(3).String() ||
		b.lines[0].Loss != 0.5 {
		t.Fatalf("%+v", b.lines)
	}
	if last := b.records[len(b.records)-1]; last.State != Finished || last.Steps != 3 || last.Finished == nil {
		t.Fatalf("%+v", last)
	}
}

func TestShardsAreDividedAndThoseOfTheDeadReassigned(t *testing.T) {
	b := newBench(t)
	for peer := Peer(1); peer <= 3; peer++ {
		b.join(peer)
	}
	b.ask(2, 0)
	b.wantShards(2, 1)
	b.ask(1, 0)
	b.wantShards(1, 0)
	b.submit(2, b.update(0, 1, 1, 1))
	b.submit(1, b.update(0, 0, 1, 1))
	b.ask(1, 0)
	b.ask(2, 0)
	if waiting := append(b.take(1), b.take(2)...); len(waiting) != 0 {
		t.Fatalf("got %v where all shards belong to a third worker", waiting)
	}
	b.handle(PeerDisconnected{Peer: 3, Reason: "killed"})
	b.wantShards(1, 2)
	b.wantShards(2, 3)
}

func TestOnlyTheFirstAnswerCounts(t *testing.T) {
	for _, test := range []struct {
		scenario string
		update   func(*bench) protocol.Update
		verdict  protocol.Verdict
		detail   string
	}{
		{"the same bits again", func(b *bench) protocol.Update { return b.update(1, 0, 2, 5) }, protocol.Duplicate,
			"already arrived"},
		{"different bits", func(b *bench) protocol.Update { return b.update(1, 0, 2, 6) }, protocol.Conflict,
			"different bits"},
		{"another grouping", func(b *bench) protocol.Update { return b.update(1, 0, 1, 5) }, protocol.Stale, "overlap"},
		{"a closed step", func(b *bench) protocol.Update { return b.update(0, 0, 2, 5) }, protocol.Stale, "step 0 is closed"},
		{"a step that is not open", func(b *bench) protocol.Update { return b.update(2, 0, 2, 5) }, protocol.TooEarly,
			"step 2 is not open"},
		{"not a node of the tree", func(b *bench) protocol.Update { return b.update(1, 1, 2, 5) }, protocol.Refused,
			"not a node"},
		{"beyond the last shard", func(b *bench) protocol.Update { return b.update(1, 4, 2, 5) }, protocol.Refused,
			"not all in a step"},
		{"a wrong number of samples", func(b *bench) protocol.Update {
			u := b.update(1, 2, 2, 5)
			u.Reports[1].Samples = 3
			return u
		}, protocol.Refused, "shard 3 reports 3 samples"},
		{"the same bits with another weight", func(b *bench) protocol.Update {
			u := b.update(1, 0, 2, 5)
			u.Reports[0].Weight = 3
			return u
		}, protocol.Conflict, "different bits"},
		{"the same bits of a loss that is a sum", func(b *bench) protocol.Update { return summed(b.update(1, 0, 2, 5)) },
			protocol.Conflict, "different bits"},
		{"a sum where the step has means", func(b *bench) protocol.Update { return summed(b.update(1, 2, 2, 5)) },
			protocol.Refused, "the loss of shard 2 is a sum, that of shard 0 a mean"},
		{"a weight that is not a number", func(b *bench) protocol.Update {
			return weighted(b.update(1, 2, 2, 5), math.NaN())
		}, protocol.Refused, "the weight of shard 3 is NaN"},
		{"an infinite weight", func(b *bench) protocol.Update { return weighted(b.update(1, 2, 2, 5), math.Inf(1)) },
			protocol.Refused, "the weight of shard 3 is +Inf"},
		{"a weight too large to add up", func(b *bench) protocol.Update { return weighted(b.update(1, 2, 2, 5), 1e306) },
			protocol.Refused, "the weight of shard 3 is 1e+306"},
		{"a negative weight", func(b *bench) protocol.Update { return weighted(b.update(1, 2, 2, 5), -1) }, protocol.Refused,
			"the weight of shard 3 is -1"},
		{"a loss that is not a number", func(b *bench) protocol.Update {
			u := b.update(1, 2, 2, 5)
			u.Reports[0].LossSum = math.NaN()
			return u
		}, protocol.Refused, "the loss of shard 2 is NaN"},
		{"reports in a different order", func(b *bench) protocol.Update {
			u := b.update(1, 2, 2, 5)
			slices.Reverse(u.Reports)
			return u
		}, protocol.Refused, "the report for shard 3 is where that for shard 2 is expected"},
		{"pieces that were refused", func(b *bench) protocol.Update {
			u := b.update(1, 2, 2, 5)
			u.Gradients.Release()
			return protocol.Update{Step: u.Step, FirstShard: 2, ShardCount: 2, Refusal: "tensor a has NaN"}
		}, protocol.Refused, "tensor a has NaN"},
	} {
		t.Run(test.scenario, func(t *testing.T) {
			b := newBench(t)
			b.join(1)
			b.ask(1, 0)
			b.take(1)
			b.submit(1, b.update(0, 0, 4, 1))
			b.ask(1, 0)
			b.ask(1, 1)
			b.take(1)
			b.submit(1, b.update(1, 0, 2, 5))
			ack := b.submit(1, test.update(b))
			if ack.Verdict != test.verdict || !strings.Contains(ack.Detail, test.detail) {
				t.Fatalf("%v: %s", ack.Verdict, ack.Detail)
			}
			// Nothing of it reaches the sum.
			b.submit(1, b.update(1, 2, 2, 7))
			b.ask(1, 1)
			if a := one[*protocol.Aggregate](b, 1); a.Gradients.Blocks()[0][0] != 12 {
				t.Fatalf("the sum is %v", a.Gradients.Blocks()[0])
			}
		})
	}
}

func summed(u protocol.Update) protocol.Update {
	for i := range u.Reports {
		u.Reports[i].Summed = true
	}
	return u
}

// weighted gives the last shard of an update another weight.
func weighted(u protocol.Update, weight float64) protocol.Update {
	u.Reports[len(u.Reports)-1].Weight = weight
	return u
}

// advance brings a worker that is alone to the open step `to`.
func (b *bench) advance(peer Peer, to uint64) {
	for step := range to {
		b.ask(peer, step)
		b.take(peer)
		b.submit(peer, b.update(step, 0, 4, 1))
		b.ask(peer, step)
		b.take(peer)
	}
}

func TestALateJoinerGetsTheStateOfAnother(t *testing.T) {
	b := newBench(t)
	b.join(1)
	b.advance(1, 1)
	b.ask(1, 1)
	b.take(1)
	b.submit(1, b.update(1, 0, 4, 1))
	b.ask(1, 1)
	b.take(1)
	b.handle(JoinRequested{Peer: 2, Join: testJoin()})
	b.take(2)
	b.ask(2, 0)
	if len(b.take(2)) != 0 {
		t.Fatal("an answer, before anybody has sent a state")
	}
	b.ask(1, 2)
	if asked := one[protocol.SnapshotRequest](b, 1); asked.Step != 2 {
		t.Fatalf("%+v", asked)
	}
	freed := false
	state := protocol.NewSnapshot(2, hashAt(2), [][]byte{{1}}, 1, protocol.Hash{}, func() { freed = true })
	b.handle(SnapshotReceived{Peer: 1, Snapshot: state})
	if got := one[*protocol.Snapshot](b, 2); got != state {
		t.Fatal("another snapshot")
	}
	b.ask(1, 2)
	b.wantShards(1, 0, 1, 2, 3)
	b.submit(1, b.update(2, 0, 4, 1))
	b.ask(2, 2)
	if a := one[*protocol.Aggregate](b, 2); a.Step != 2 {
		t.Fatal("not the aggregate of the step that it holds")
	}
	if freed {
		t.Fatal("the snapshot was freed while a step may still need it")
	}
}

func TestAWorkerWithDifferentParametersIsNoticed(t *testing.T) {
	b := newBench(t)
	b.join(1)
	b.join(2)
	b.ask(1, 0)
	b.wantShards(1, 0, 1)
	b.handle(WorkRequested{Peer: 2, Work: protocol.Work{Step: 0, ParametersHash: protocol.Hash{99}}})
	if err := one[*protocol.Error](b, 2); err.Action != protocol.Resync || !strings.Contains(err.Detail, "worker 2") {
		t.Fatalf("%+v", err)
	}
	b.submit(1, b.update(0, 0, 2, 1))
	b.ask(1, 0)
	b.wantShards(1, 2, 3)
}

func TestJoinsThatAreRefused(t *testing.T) {
	for _, test := range []struct {
		scenario string
		change   func(*protocol.Join)
		action   protocol.Action
		detail   string
	}{
		{"another protocol", func(j *protocol.Join) { j.Version = 9 }, protocol.Stop, "version 9"},
		{"another shape", func(j *protocol.Join) { j.Parameters[1].Shape = []uint64{2} }, protocol.Stop,
			"parameter 1 is b float32 [2]"},
		{"a parameter more", func(j *protocol.Join) { j.Parameters = append(j.Parameters, protocol.Spec{Name: "c"}) },
			protocol.Stop, "3 parameters"},
		{"other data", func(j *protocol.Join) { j.Dataset.Hash = protocol.Hash{8} }, protocol.Stop, "data"},
		{"other first parameters", func(j *protocol.Join) { j.ParametersHash = protocol.Hash{9} }, protocol.Stop,
			"same seed"},
		{"a step ahead", func(j *protocol.Join) { j.Step = 2 }, protocol.Stop, "holds 2 steps, but the ledger"},
		{"another run", func(j *protocol.Join) { j.RunID = "other" }, protocol.Stop, "belongs to run other"},
	} {
		t.Run(test.scenario, func(t *testing.T) {
			b := newBench(t)
			b.join(1)
			join := testJoin()
			test.change(&join)
			b.handle(JoinRequested{Peer: 2, Join: join})
			if err := one[*protocol.Error](b, 2); err.Action != test.action || !strings.Contains(err.Detail, test.detail) ||
				err.Refused != protocol.KindJoinRequest {
				t.Fatalf("%+v", err)
			}
			b.ask(1, 0)
			b.wantShards(1, 0, 1, 2, 3)
		})
	}
}

func TestRequestsOutOfOrderAreRefused(t *testing.T) {
	b := newBench(t)
	b.ask(5, 0)
	if err := one[*protocol.Error](b, 5); err.Action != protocol.FixRequest ||
		!strings.Contains(err.Detail, "has not joined") {
		t.Fatalf("%+v", err)
	}
	b.join(1)
	b.handle(JoinRequested{Peer: 1, Join: testJoin()})
	if err := one[*protocol.Error](b, 1); !strings.Contains(err.Detail, "has already joined") {
		t.Fatalf("%+v", err)
	}
	b.ask(1, 3)
	if err := one[*protocol.Error](b, 1); !strings.Contains(err.Detail, "only 0 are closed") {
		t.Fatalf("%+v", err)
	}
}

func TestStopAnswersWhoWaits(t *testing.T) {
	b := newBench(t)
	b.join(1)
	b.join(2)
	b.ask(1, 0)
	b.take(1)
	b.submit(1, b.update(0, 0, 2, 1))
	b.ask(1, 0)
	b.handle(StopRequested{Reason: "test"})
	if err := one[*protocol.Error](b, 1); err.Action != protocol.Reconnect {
		t.Fatalf("%+v", err)
	}
	if last := b.records[len(b.records)-1]; last.State != Stopped {
		t.Fatalf("%+v", last)
	}
}

func TestTheSumDoesNotDependOnWhoSendsWhatWhen(t *testing.T) {
	// Values whose float32 sum depends on the grouping.
	values := []float32{1e8, 1, -1e8, 1}
	want := (values[0] + values[1]) + (values[2] + values[3])
	for _, order := range [][]uint32{{0, 1, 2, 3}, {3, 2, 1, 0}, {1, 3, 0, 2}, {2, 0, 3, 1}} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			b := newBench(t)
			for peer := Peer(1); peer <= 4; peer++ {
				b.join(peer)
				b.ask(peer, 0)
			}
			for peer := Peer(1); peer <= 4; peer++ {
				b.take(peer)
			}
			for _, shard := range order {
				b.submit(Peer(shard+1), b.update(0, shard, 1, values[shard]))
			}
			b.ask(1, 0)
			if got := one[*protocol.Aggregate](b, 1).Gradients.Blocks()[0][0]; got != want {
				t.Fatalf("%v; want %v", got, want)
			}
		})
	}
}
