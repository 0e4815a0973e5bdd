package tree

import (
	"slices"

	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/vector"
)

// Contribution is one gradient sum that a worker sent.
type Contribution struct {
	Node    Node
	Worker  uint32
	Digest  vector.Digest
	Reports []protocol.Report
}

// Tree holds the contributions to one step that have arrived.
type Tree struct {
	shards uint32
	sums   map[Node]*vector.Vector // nodes whose sibling is missing
	from   []*Contribution         // by shard; nil where nothing has arrived
}

// New makes an empty tree over a power of two of shards.
func New(shards uint32) *Tree {
	return &Tree{shards, map[Node]*vector.Vector{}, make([]*Contribution, shards)}
}

// Outcome of Compare.
type Outcome int

// How a contribution relates to those that arrived before.
const (
	Fresh   Outcome = iota // none of its shards has arrived
	Same                   // it has arrived before, with the same bits
	Differs                // it has arrived before, with different bits
	// Some of its shards have arrived in another grouping, so the bits cannot be compared.
	Overlaps
)

// Compare looks for earlier contributions to the same shards. It gives the first one that it found,
// if any.
func (t *Tree) Compare(c *Contribution) (Outcome, *Contribution) {
	for shard := c.Node.First; shard < c.Node.First+c.Node.Count; shard++ {
		earlier := t.from[shard]
		switch {
		case earlier == nil:
			continue
		case earlier.Node != c.Node:
			return Overlaps, earlier
		case !earlier.SameResult(c):
			return Differs, earlier
		default:
			return Same, earlier
		}
	}
	return Fresh, nil
}

// SameResult says whether two contributions to the same shards have the same bits, in the gradients
// and in all that is reported of them.
func (c *Contribution) SameResult(other *Contribution) bool {
	return c.Digest.Equal(other.Digest) && slices.Equal(c.Reports, other.Reports)
}

// Insert adds a new contribution and takes over the caller's hold on its sum. The node must be one
// of the tree, and Compare must have said Fresh. Sums of complete siblings are added at once, left
// operand first, so at most half the shards are ever held.
func (t *Tree) Insert(c *Contribution, sum *vector.Vector) {
	for shard := c.Node.First; shard < c.Node.First+c.Node.Count; shard++ {
		t.from[shard] = c
	}
	node := c.Node
	for {
		other, both := t.sums[node.sibling()]
		if !both {
			t.sums[node] = sum
			return
		}
		delete(t.sums, node.sibling())
		left, right := sum, other
		if !node.left() {
			left, right = other, sum
		}
		vector.Add(left, right)
		right.Release()
		sum, node = left, node.parent()
	}
}

// Has says whether the shard has arrived.
func (t *Tree) Has(shard uint32) bool { return t.from[shard] != nil }

// Root gives the sum over all shards, which then belongs to the caller, or nil while some are
// missing.
func (t *Tree) Root() *vector.Vector {
	root := Node{0, t.shards}
	sum := t.sums[root]
	delete(t.sums, root)
	return sum
}

// Reports of all shards, in their order. Call it only when the root is there.
func (t *Tree) Reports() []protocol.Report {
	reports := make([]protocol.Report, t.shards)
	for shard, contribution := range t.from {
		reports[shard] = contribution.Reports[shard-int(contribution.Node.First)]
	}
	return reports
}

// At gives the contribution that holds a shard, or nil.
func (t *Tree) At(shard uint32) *Contribution { return t.from[shard] }

// Complete says whether all shards have arrived.
func (t *Tree) Complete() bool { return t.sums[Node{0, t.shards}] != nil }

// Contributions that have arrived, ascending.
func (t *Tree) Contributions() []*Contribution {
	var all []*Contribution
	for _, contribution := range t.from {
		if contribution != nil && (len(all) == 0 || all[len(all)-1] != contribution) {
			all = append(all, contribution)
		}
	}
	return all
}

// Discard releases the sums of a step that will not be finished.
func (t *Tree) Discard() {
	for node, sum := range t.sums {
		sum.Release()
		delete(t.sums, node)
	}
}

// Losses adds the losses of shards in the same tree. The length must be a power of two.
func Losses(reports []protocol.Report) float64 {
	return addUp(reports, func(r protocol.Report) float64 { return r.LossSum })
}

// Divisor gives what the sums of a step are divided by: the weights of the shards, added in the
// same tree, or 1 where their losses are sums. The length must be a power of two.
func Divisor(reports []protocol.Report) float64 {
	for _, r := range reports {
		if r.Samples > 0 && r.Summed {
			return 1
		}
	}
	return addUp(reports, func(r protocol.Report) float64 { return r.Weight })
}

func addUp(reports []protocol.Report, value func(protocol.Report) float64) float64 {
	if len(reports) == 1 {
		return value(reports[0])
	}
	half := len(reports) / 2
	return addUp(reports[:half], value) + addUp(reports[half:], value)
}
