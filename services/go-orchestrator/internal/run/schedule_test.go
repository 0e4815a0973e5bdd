package run

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

func TestSchedule(t *testing.T) {
	for _, test := range []struct {
		scenario          string
		settings          protocol.Settings
		samples           uint64
		epochSteps, total uint64
		lastStepSamples   uint64
	}{
		{"the digits", protocol.Settings{Shards: 8, BatchSize: 64, Epochs: 3}, 1438, 23, 69, 30},
		{"a batch that divides the data", protocol.Settings{Shards: 4, BatchSize: 10, Epochs: 1}, 100, 10, 10, 10},
		{"a batch larger than the data", protocol.Settings{Shards: 8, BatchSize: 64, Epochs: 2}, 3, 1, 2, 3},
		{"one sample", protocol.Settings{Shards: 1024, BatchSize: 1 << 20, Epochs: 1}, 1, 1, 1, 1},
	} {
		t.Run(test.scenario, func(t *testing.T) {
			s, err := NewSchedule(test.settings, test.samples)
			if err != nil {
				t.Fatal(err)
			}
			if s.EpochSteps != test.epochSteps || s.TotalSteps != test.total {
				t.Fatalf("%d steps an epoch, %d in all; want %d and %d", s.EpochSteps, s.TotalSteps, test.epochSteps, test.total)
			}
			if got := s.StepSamples(s.TotalSteps - 1); got != test.lastStepSamples {
				t.Fatalf("the last step has %d samples; want %d", got, test.lastStepSamples)
			}
			// Each sample of an epoch is in one shard of one step.
			sum := uint64(0)
			for step := range s.EpochSteps {
				ofShards := uint64(0)
				for shard := range test.settings.Shards {
					ofShards += s.ShardSamples(step, shard)
				}
				if ofShards != s.StepSamples(step) {
					t.Fatalf("the shards of step %d have %d samples; the step has %d", step, ofShards, s.StepSamples(step))
				}
				sum += ofShards
			}
			if sum != test.samples {
				t.Fatalf("an epoch has %d samples; want %d", sum, test.samples)
			}
		})
	}
	t.Run("a dataset that fills no step is refused by what to change", func(t *testing.T) {
		_, err := NewSchedule(protocol.Settings{Shards: 1, BatchSize: 8, Epochs: 1, DropLast: true}, 7)
		if err == nil || !strings.Contains(err.Error(), "7 training samples do not fill one step of 8, and --drop-last") {
			t.Fatal(err)
		}
	})
	t.Run("impossible sizes are refused", func(t *testing.T) {
		settings := protocol.Settings{Shards: 1, BatchSize: 1, Epochs: 1}
		for _, samples := range []uint64{0, 1 << 32, 1<<64 - 1} {
			if _, err := NewSchedule(settings, samples); err == nil {
				t.Errorf("%d samples were accepted", samples)
			}
		}
	})
}

// The file is read by tests of each language that cuts steps, and was made by none of them.
func TestTheCutIsTheSameInAllLanguages(t *testing.T) {
	content, err := os.ReadFile("../../../../libraries/order/testdata/cuts.json")
	if err != nil {
		t.Fatal(err)
	}
	var cuts []struct {
		Samples         uint64
		BatchSize       uint32 `json:"batch_size"`
		Shards          uint32
		MinShardSamples uint32 `json:"min_shard_samples"`
		DropLast        bool   `json:"drop_last"`
		Steps           uint64
		Ranges          map[uint64][][3]uint64 // by step: shard, from, to of each shard that has samples
	}
	if err := json.Unmarshal(content, &cuts); err != nil || len(cuts) < 100 {
		t.Fatalf("%d cuts, %v", len(cuts), err)
	}
	for _, cut := range cuts {
		settings := protocol.Settings{Shards: cut.Shards, BatchSize: cut.BatchSize, Epochs: 1,
			MinShardSamples: cut.MinShardSamples, DropLast: cut.DropLast}
		s, err := NewSchedule(settings, cut.Samples)
		if (err != nil) != (cut.Steps == 0) || s.EpochSteps != cut.Steps {
			t.Errorf("%+v: %d steps, error %v", cut, s.EpochSteps, err)
			continue
		}
		for step, want := range cut.Ranges {
			for shard := range cut.Shards {
				from, to := s.ShardRange(step, shard)
				if len(want) > 0 && want[0][0] == uint64(shard) {
					if from != want[0][1] || to != want[0][2] {
						t.Errorf("%+v: shard %d of step %d is [%d, %d); want %v", settings, shard, step, from, to, want[0])
					}
					want = want[1:]
				} else if from != to {
					t.Errorf("%+v: shard %d of step %d is [%d, %d); want it empty", settings, shard, step, from, to)
				}
			}
		}
	}
}
