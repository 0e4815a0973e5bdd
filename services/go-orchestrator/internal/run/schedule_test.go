package run

import (
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
	t.Run("impossible sizes are refused", func(t *testing.T) {
		settings := protocol.Settings{Shards: 1, BatchSize: 1, Epochs: 1}
		for _, samples := range []uint64{0, 1 << 32, 1<<64 - 1} {
			if _, err := NewSchedule(settings, samples); err == nil {
				t.Errorf("%d samples were accepted", samples)
			}
		}
	})
}
