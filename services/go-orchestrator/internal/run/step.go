package run

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/tree"
)

// step is the open step: who computes which of its shards, and what of its sum has arrived.
//
// A shard has at most one owner, whose result is, or will be, part of the sum; it may have several
// holders, who compute it to overtake a late owner or to compare bits. Whichever result arrives
// first makes its sender the owner; all others are only compared with it. So a sum never has a
// shard twice, and where two results differ, nobody is believed before a third one has computed the
// same.
type step struct {
	number uint64
	// Zero until the first lease of the run: what passes before a worker is there says nothing.
	opened time.Time
	// The shards have been given owners: once for each step, by the workers that were there.
	divided  bool
	present  int // workers at the division
	shards   []shard
	tree     *tree.Tree
	disputes []*dispute // about different shards
	// How often the step was restarted because its replay came out with different bits.
	retries int

	// What later steps have to be compared with stays from one step to the next.
	shardTimes   lateness // how long workers took for a shard
	requestTimes lateness // how long workers took from an answer to their next request
}

// shard of the open step.
type shard struct {
	// The worker whose result is, or will be, part of the sum; nobody where the shard is free.
	owner uint32
	// Who computes it now, in the order of their leases; the owner is among them once it has asked for
	// it.
	holders []holder

	separate  bool   // its bits are to be compared, so it is submitted alone
	check     bool   // it is to be computed by two workers, and only one has
	notFinite uint32 // the worker whose result was NaN or Inf, or nobody
}

// holder is a worker's lease of a shard: until its result has arrived, or it asks for work again.
type holder struct {
	worker uint32
	since  time.Time
	of     int // shards in the lease
}

// hold notes that a worker computes the shard from now on.
func (s *shard) hold(worker uint32, now time.Time, of int) {
	s.release(worker)
	s.holders = append(s.holders, holder{worker, now, of})
}

// release notes that a worker no longer computes the shard.
func (s *shard) release(worker uint32) {
	s.holders = slices.DeleteFunc(s.holders, func(h holder) bool { return h.worker == worker })
}

// openStep makes a step the open one. What had arrived for the one before must have been handed
// over or discarded.
func (m *Machine) openStep(number uint64) {
	settings := m.config.Settings
	m.beginSums()
	m.step = step{
		number: number, opened: m.now, shards: make([]shard, settings.Shards), tree: tree.New(settings.Shards),
		shardTimes: m.step.shardTimes, requestTimes: m.step.requestTimes,
	}
	for i := range m.step.shards {
		compared := verified(m.config.VerifyFraction, settings.Seed, number, uint32(i))
		m.step.shards[i].separate, m.step.shards[i].check = compared, compared
	}
}

// restartStep discards what has arrived for the open step, and begins it again.
func (m *Machine) restartStep() {
	before := m.step
	m.discardSum()
	m.openStep(before.number)
	m.step.retries = before.retries
	for i := range before.shards {
		m.step.shards[i].notFinite = before.shards[i].notFinite
	}
}

// verified reports whether a shard is to be computed by two workers. It is a pure function of its
// arguments, so that a replay compares the same shards.
func verified(fraction float64, seed, step uint64, shard uint32) bool {
	if fraction <= 0 {
		return false
	}
	var key [24]byte
	binary.LittleEndian.PutUint64(key[0:], seed)
	binary.LittleEndian.PutUint64(key[8:], step)
	binary.LittleEndian.PutUint64(key[16:], uint64(shard))
	sum := sha256.Sum256(key[:])
	return float64(binary.LittleEndian.Uint64(sum[:8])) < fraction*math.MaxUint64
}

// divide gives the shards of a new step to the workers that are there, contiguous and even,
// ascending by worker id. Contiguous, because the sums of neighbouring shards are added by the
// worker, and only the largest subtrees travel.
func (s *step) divide(present []*worker, now time.Time) {
	s.divided, s.present = true, len(present)
	if s.opened.IsZero() {
		s.opened = now
	}
	shards := len(s.shards)
	for i, w := range present {
		for shard := shards * i / len(present); shard < shards*(i+1)/len(present); shard++ {
			s.shards[shard].owner = w.id
		}
	}
}

// unfinished returns the shards of an owner whose results have not arrived.
func (s *step) unfinished(owner uint32) []uint32 {
	var shards []uint32
	for number := range s.shards {
		if s.shards[number].owner == owner && !s.tree.Has(uint32(number)) {
			shards = append(shards, uint32(number))
		}
	}
	return shards
}

// separate returns those of the shards that are submitted alone.
func (s *step) separate(shards []uint32) []uint32 {
	var separate []uint32
	for _, number := range shards {
		if s.shards[number].separate {
			separate = append(separate, number)
		}
	}
	return separate
}

// hold notes that a worker computes the shards of its lease from now on.
func (s *step) hold(worker uint32, shards []uint32, now time.Time) {
	for _, number := range shards {
		s.shards[number].hold(worker, now, len(shards))
	}
}

// releaseAll notes that a worker computes nothing: who asks for work has nothing in hand.
func (s *step) releaseAll(worker uint32) {
	for number := range s.shards {
		s.shards[number].release(worker)
	}
}

// leave takes what a worker would have computed from it, so that others can be given it. What has
// arrived from it stays in the sum.
func (s *step) leave(worker uint32) {
	for number := range s.shards {
		shard := &s.shards[number]
		if shard.owner == worker && !s.tree.Has(uint32(number)) {
			shard.owner = nobody
		}
		shard.release(worker)
	}
	for _, d := range s.disputes {
		if d.third == worker {
			d.third = nobody
		}
	}
}

// received notes that the result of shards has arrived: its sender owns them now. Others that
// compute them may still send theirs.
func (s *step) received(worker uint32, node tree.Node, now time.Time) {
	for _, h := range s.shards[node.First].holders {
		if h.worker == worker && h.of > 0 {
			s.shardTimes.add(now.Sub(h.since), h.of)
		}
	}
	for number := node.First; number < node.First+node.Count; number++ {
		shard := &s.shards[number]
		shard.release(worker)
		shard.owner = worker
	}
}

// computes returns the worker whose bits of a shard are, or will be, part of the sum.
func (s *step) computes(number uint32) uint32 {
	if c := s.tree.At(number); c != nil {
		return c.Worker
	}
	return s.shards[number].owner
}

// checked notes that two workers have computed the shards.
func (s *step) checked(node tree.Node) {
	for number := node.First; number < node.First+node.Count; number++ {
		s.shards[number].check = false
	}
}

// checkSummed refuses reports that take their loss for a sum where an earlier one of the step took
// it for a mean, or the other way round: no divisor is right for both.
func (s *step) checkSummed(reports []protocol.Report) error {
	var first *protocol.Report
	for _, c := range append(s.tree.Contributions(), &tree.Contribution{Reports: reports}) {
		for i, report := range c.Reports {
			switch {
			case report.Samples == 0:
			case first == nil:
				first = &c.Reports[i]
			case report.Summed != first.Summed:
				return fmt.Errorf(
					"the loss of shard %d is %s, that of shard %d %s; all shards of a step must have the same kind of loss",
					report.Shard, kindOfLoss(report), first.Shard, kindOfLoss(*first))
			}
		}
	}
	return nil
}

func kindOfLoss(report protocol.Report) string {
	if report.Summed {
		return "a sum"
	}
	return "a mean"
}
