package run

import (
	"math"
	"strings"
	"testing"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// closeFirstWith closes step 0 with these reports by a change of those that the bench sends, and
// gives what workers, ledger and metrics get.
func (b *bench) closeFirstWith(change func(*protocol.Update)) (*protocol.Aggregate, *ledger.Step, MetricsLine) {
	b.t.Helper()
	b.join(1)
	b.ask(1, 0)
	b.take(1)
	u := b.update(0, 0, 4, 1)
	change(&u)
	if ack := b.submit(1, u); ack.Verdict != protocol.Accepted {
		b.t.Fatalf("%+v", ack)
	}
	b.ask(1, 0)
	aggregate := one[*protocol.Aggregate](b, 1)
	b.ask(1, 1)
	return aggregate, b.committed[len(b.committed)-1].(*ledger.Step), b.lines[0]
}

func TestASumIsDividedByTheWeightsOfItsShards(t *testing.T) {
	for _, test := range []struct {
		scenario string
		weights  [4]float64
		summed   bool
		divisor  float64
		loss     float64 // of a loss sum of 4
	}{
		{"as many as there are samples", [4]float64{2, 2, 2, 2}, false, 8, 0.5},
		{"unequal ones, added in the tree", [4]float64{1e16, 1, 1, 1}, false, 1e16 + 2, 4 / (1e16 + 2)},
		{"nothing counts", [4]float64{}, false, 0, math.Inf(1)},
		{"losses that are sums", [4]float64{2, 2, 2, 2}, true, 1, 4},
	} {
		t.Run(test.scenario, func(t *testing.T) {
			aggregate, step, line := newBench(t).closeFirstWith(func(u *protocol.Update) {
				for i := range u.Reports {
					u.Reports[i].Weight, u.Reports[i].Summed = test.weights[i], test.summed
				}
			})
			if aggregate.Divisor != test.divisor || step.DividedBy() != test.divisor || float64(line.Loss) != test.loss {
				t.Fatalf("divisor %v, in the ledger %v, loss %v", aggregate.Divisor, step.DividedBy(), line.Loss)
			}
			for i, shard := range step.Contributions[0].Shards {
				if float64(*shard.Weight) != test.weights[i] || shard.Summed != test.summed {
					t.Fatalf("shard %d has weight %v, summed %v in the ledger", i, *shard.Weight, shard.Summed)
				}
			}
		})
	}
	if text, _ := ledger.Float(math.Inf(1)).MarshalJSON(); string(text) != "null" {
		t.Fatalf("a loss by which nothing counted is written as %s", text)
	}
}

func TestAnEmptyShardHasNoWeight(t *testing.T) {
	b := newBenchWith(t, protocol.Settings{Seed: 1, Shards: 4, BatchSize: 8, Epochs: 1, MinShardSamples: 4})
	b.join(1)
	b.ask(1, 0)
	b.take(1)
	u := b.update(0, 0, 4, 1)
	for i, samples := range []uint32{4, 0, 4, 0} {
		u.Reports[i].Samples, u.Reports[i].Weight = samples, float64(samples)
	}
	u.Reports[1].Weight = 1
	if ack := b.submit(1, u); ack.Verdict != protocol.Refused ||
		!strings.Contains(ack.Detail, "the weight of shard 1 is 1, but the shard has no samples") {
		t.Fatalf("%+v", ack)
	}
	u = b.update(0, 0, 4, 1)
	for i, samples := range []uint32{4, 0, 4, 0} {
		u.Reports[i].Samples, u.Reports[i].Weight, u.Reports[i].Summed = samples, float64(samples), samples == 0
	}
	if ack := b.submit(1, u); ack.Verdict != protocol.Accepted {
		t.Fatalf("what an empty shard reports as its loss must not matter: %+v", ack)
	}
}

// Two results with the same gradients and different weights are a dispute as any other: the third
// worker settles it.
func TestADisputeOverAWeightIsSettled(t *testing.T) {
	for _, test := range []struct {
		third  float64 // weight that the third worker sends; the first sends 2, the second 3
		kind   string
		worker uint32
		detail string
	}{
		{2, ledger.Quarantine, 2, "worker 2 sent"},
		{3, ledger.Quarantine, 1, "worker 1 sent"},
		{4, ledger.Conflict, 3, "three results"},
	} {
		b := newBench(t)
		for peer := Peer(1); peer <= 3; peer++ {
			join := testJoin()
			join.WorkerName = string(rune('a' + peer - 1))
			b.handle(JoinRequested{Peer: peer, Join: join})
			b.ask(peer, 0)
		}
		b.submitWeight(1, 2)
		if ack := b.submitWeight(2, 3); ack.Verdict != protocol.Conflict {
			t.Fatalf("%+v", ack)
		}
		b.submitWeight(3, test.third)
		incidents := b.incidents()
		if len(incidents) != 2 || incidents[0].Kind != ledger.Conflict || incidents[0].Worker != 2 ||
			incidents[0].Other != 1 {
			t.Fatalf("%+v", incidents)
		}
		if last := incidents[1]; last.Kind != test.kind || last.Worker != test.worker || last.Other != 0 ||
			!strings.Contains(last.Detail, test.detail) {
			t.Fatalf("a third weight of %v: %+v", test.third, last)
		}
	}
}

// submitWeight sends shard 0 of step 0 with gradients that are always the same.
func (b *bench) submitWeight(peer Peer, weight float64) protocol.Ack {
	b.take(peer)
	return b.submit(peer, weighted(b.update(0, 0, 1, 1), weight))
}

func (b *bench) incidents() []*ledger.Incident {
	var incidents []*ledger.Incident
	for _, record := range b.committed {
		if incident, is := record.(*ledger.Incident); is {
			incidents = append(incidents, incident)
		}
	}
	return incidents
}

func TestARunOfTheFirstFormatContinuesAsItBegan(t *testing.T) {
	first := []ledger.Record{&ledger.Settings{Format: 1, RunID: "test", Seed: 1, Shards: 4, BatchSize: 8, Epochs: 1},
		&ledger.Start{}}
	open := func(minShardSamples uint32, byDefault, dropLast bool) (*Machine, error) {
		settings := protocol.Settings{Seed: 1, Shards: 4, BatchSize: 8, Epochs: 1, MinShardSamples: minShardSamples,
			DropLast: dropLast}
		m, _, err := Open(Config{RunID: "test", Settings: settings, DefaultCut: byDefault, MemoryBytes: 1 << 20,
			StragglerK: 5}, time.Unix(1000, 0), Past{Records: ledger.List(first)})
		return m, err
	}
	for _, byDefault := range []bool{true, false} {
		given := uint32(2)
		if !byDefault {
			given = 0
		}
		m, err := open(given, byDefault, false)
		if err != nil || m.config.Settings.MinShardSamples != 0 || m.Record().MinShardSamples != 0 {
			t.Errorf("by default %v: %v", byDefault, err)
		}
	}
	if _, err := open(2, false, false); err == nil ||
		!strings.Contains(err.Error(), "--min-shard-samples 0, but 2 was requested") {
		t.Errorf("another cut that was asked for: %v", err)
	}
	if _, err := open(2, true, true); err == nil ||
		!strings.Contains(err.Error(), "--drop-last false, but true was requested") {
		t.Errorf("another length of an epoch: %v", err)
	}
	first[0].(*ledger.Settings).Format = 2
	if _, err := open(2, true, false); err == nil || !strings.Contains(err.Error(), "--min-shard-samples 0") {
		t.Errorf("a run of this format that began with another cut: %v", err)
	}
	first[0].(*ledger.Settings).Format = 4
	if _, err := open(2, true, false); err == nil || !strings.Contains(err.Error(), "format 4; this build reads 1 to 3") {
		t.Errorf("a later format: %v", err)
	}
}

func TestALineOfMetricsIsRestoredWithTheLossOfItsFormat(t *testing.T) {
	divisor := ledger.Float(16)
	for _, test := range []struct {
		divisor *ledger.Float
		loss    ledger.Float
	}{{nil, 0.5}, {&divisor, 0.25}} {
		records := []ledger.Record{
			&ledger.Settings{Format: 1, RunID: "test", Seed: 1, Shards: 4, BatchSize: 8, Epochs: 1}, &ledger.Start{},
			&ledger.Model{Dataset: ledger.Dataset{TrainSamples: 20},
				Parameters: []ledger.Spec{{Name: "a", DType: "float32", Shape: []uint64{2}}}},
			&ledger.Step{Step: 0, Samples: 8, LossSum: 4, Divisor: test.divisor}, &ledger.Step{Step: 1, Samples: 8, LossSum: 4,
				Divisor: test.divisor},
		}
		settings := protocol.Settings{Seed: 1, Shards: 4, BatchSize: 8, Epochs: 1}
		_, effects, err := Open(Config{RunID: "test", Settings: settings, MemoryBytes: 1 << 20, StragglerK: 5},
			time.Unix(1000, 0), Past{Records: ledger.List(records)})
		if err != nil {
			t.Fatal(err)
		}
		line, is := effects[0].(WriteMetrics)
		if !is || line.Line.Loss != test.loss {
			t.Fatalf("%+v; want a loss of %v", effects[0], test.loss)
		}
	}
}
