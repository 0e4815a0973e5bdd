package run

import (
	"fmt"

	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// Schedule says which samples belong to which step and shard: a pure function of the settings and
// the size of the data.
type Schedule struct {
	Samples   uint64 // of an epoch's order, including those that dropLast leaves out
	BatchSize uint64
	Shards    uint64
	// Shards of a step are merged until each has at least this many samples; 0 or 1 merges none.
	MinShardSamples uint64
	EpochSteps      uint64 // ceil(Samples / BatchSize), or floor with dropLast
	TotalSteps      uint64
}

// NewSchedule refuses a dataset whose steps cannot be counted.
func NewSchedule(settings protocol.Settings, samples uint64) (Schedule, error) {
	const most = 1 << 52
	if samples == 0 || samples > most {
		return Schedule{}, fmt.Errorf("a dataset of %d training samples cannot be trained on; 1 to %d are possible", samples,
			uint64(most))
	}
	s := Schedule{Samples: samples, BatchSize: uint64(settings.BatchSize), Shards: uint64(settings.Shards),
		MinShardSamples: uint64(settings.MinShardSamples)}
	s.EpochSteps = samples / s.BatchSize
	if samples%s.BatchSize > 0 && !settings.DropLast {
		s.EpochSteps++
	}
	if s.EpochSteps == 0 {
		return Schedule{}, fmt.Errorf("%d training samples do not fill one step of %d, "+
			"and --drop-last leaves out a step that is not full; choose a smaller --batch-size or start without --drop-last",
			samples, s.BatchSize)
	}
	if s.EpochSteps > 1<<32-1 {
		return Schedule{}, fmt.Errorf(
			"%d training samples in batches of %d make %d steps an epoch; choose a larger --batch-size",
			samples, s.BatchSize, s.EpochSteps)
	}
	s.TotalSteps = s.EpochSteps * uint64(settings.Epochs)
	return s, nil
}

// Locate gives the epoch of a step of the run, and the step's number in that epoch.
func (s Schedule) Locate(step uint64) (epoch, epochStep uint32) {
	return uint32(step / s.EpochSteps), uint32(step % s.EpochSteps)
}

// StepSamples is how many samples a step has; the last one of an epoch may have fewer.
func (s Schedule) StepSamples(step uint64) uint64 {
	first := step % s.EpochSteps * s.BatchSize
	return min(s.BatchSize, s.Samples-first)
}

// ShardRange gives the positions [from, to) in the epoch's order of the samples of a shard; there
// may be none.
func (s Schedule) ShardRange(step uint64, shard uint32) (from, to uint64) {
	first, n := step%s.EpochSteps*s.BatchSize, s.StepSamples(step)
	shards := s.merged(n)
	width := s.Shards / shards
	// Of a group of merged shards the first has all samples; the others begin and end where it ends.
	j := uint64(shard) / width
	from, to = first+n*j/shards, first+n*(j+1)/shards
	if uint64(shard)%width != 0 {
		from = to
	}
	return from, to
}

// merged is into how many shards a step of n samples is cut: the number is halved until no shard
// has too few, so each of them is a subtree.
func (s Schedule) merged(n uint64) uint64 {
	shards := s.Shards
	for s.MinShardSamples > 1 && shards > 1 && n/shards < s.MinShardSamples {
		shards /= 2
	}
	return shards
}

// ShardSamples is the number of samples of a shard.
func (s Schedule) ShardSamples(step uint64, shard uint32) uint64 {
	from, to := s.ShardRange(step, shard)
	return to - from
}
