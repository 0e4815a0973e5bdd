package simulation

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"

	"pangea.example/pangea/services/go-orchestrator/internal/contenthash"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// What the simulated workers train: a made-up model whose gradients depend on step, shard and
// parameters. The checker has its own copy of these rules.

func initial(elements int) []float32 {
	p := make([]float32, elements)
	for i := range p {
		p[i] = float32(i + 1)
	}
	return p
}

// weighting says what a shard's loss is a mean over, if it is a mean.
type weighting string

const (
	bySamples weighting = "samples"
	unequal   weighting = "unequal" // for some shards, or whole steps, nothing counts
	summed    weighting = "summed"  // it is a sum
)

func (w weighting) weight(step uint64, shard uint32, samples uint64) float64 {
	if w == unequal {
		return float64(samples) * float64((step*5+uint64(shard)*3)%4) * 0.7
	}
	return float64(samples)
}

// gradient sum of a shard. Each float32() keeps the compiler from fusing two operations into one of
// higher precision.
func gradient(seed, step uint64, shard uint32, weight float64, p []float32) []float32 {
	g := make([]float32, len(p))
	if weight == 0 {
		return g
	}
	for i := range g {
		c := float32(int64((step*31+uint64(shard)*17+uint64(i)*7+seed%1000)%97) - 48)
		a := float32(float32(weight) * c)
		b := float32(a * 0.0078125)
		d := float32(p[i] * 0.001)
		g[i] = float32(b + d)
	}
	return g
}

func lossSum(step uint64, shard uint32, weight float64) float64 {
	return weight * float64((step+uint64(shard))%7+1) / 8
}

func batchHash(seed uint64, epoch, epochStep, shard uint32) protocol.Hash {
	return sha256.Sum256(fmt.Appendf(nil, "%d %d %d %d", seed, epoch, epochStep, shard))
}

// update applies an aggregate. Where nothing counted, nothing changes.
func update(p, aggregate []float32, divisor float64) []float32 {
	if divisor == 0 {
		return p
	}
	next := make([]float32, len(p))
	for i := range p {
		mean := float32(aggregate[i] / float32(divisor))
		change := float32(0.01 * mean)
		next[i] = float32(p[i] - change)
	}
	return next
}

func encode(p []float32) []byte {
	data := make([]byte, 0, 4*len(p))
	for _, v := range p {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	return data
}

func decode(data []byte) []float32 {
	p := make([]float32, len(data)/4)
	for i := range p {
		p[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return p
}

// contentHash is that of all simulated runs.
const contentHash = contenthash.XXH3Tree

func hashOf(p []float32) protocol.Hash { return contentHash.Of(encode(p)) }
