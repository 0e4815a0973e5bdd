package tree

import (
	"cmp"
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
	// Its bits are still to be compared with the digest, and to be checked for NaN and Inf.
	Unchecked bool
}

// Tree holds the contributions to one step that have arrived. It adds nothing itself: it says what
// can be added, and takes the sums.
type Tree struct {
	shards  uint32
	missing int                     // shards that have not arrived
	held    map[Node]*vector.Vector // what the root is the sum of, as far as it is there
	from    []*Contribution         // by shard; nil where nothing has arrived
}

// New makes an empty tree over a power of two of shards.
func New(shards uint32) *Tree {
	return &Tree{shards, int(shards), map[Node]*vector.Vector{}, make([]*Contribution, shards)}
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

// SameResult reports whether two contributions to the same shards have the same bits, in the
// gradients and in all that is reported of them for the run; what scripts log may be times.
func (c *Contribution) SameResult(other *Contribution) bool {
	return c.Digest.Equal(other.Digest) && slices.EqualFunc(c.Reports, other.Reports, protocol.Report.SameResult)
}

// Insert adds a new contribution and takes over the caller's hold on its gradients. The node must
// be one of the tree, and Compare must have said Fresh.
func (t *Tree) Insert(c *Contribution, gradients *vector.Vector) {
	for shard := c.Node.First; shard < c.Node.First+c.Node.Count; shard++ {
		t.from[shard] = c
	}
	t.held[c.Node] = gradients
	t.missing -= int(c.Node.Count)
}

// Replace puts the sum of a node in place of what it was added up from, and takes over the caller's
// hold on it.
func (t *Tree) Replace(node Node, sum *vector.Vector) {
	for _, operand := range t.sum(node).Operands {
		operand.Gradients.Release()
		delete(t.held, operand.Node)
	}
	t.held[node] = sum
}

// Held is how many vectors the tree holds.
func (t *Tree) Held() int { return len(t.held) }

// Root describes the sum over all shards. Call it only when they are all there.
func (t *Tree) Root() *Sum { return t.sum(Node{0, t.shards}) }

// Part describes the largest node, the lowest among equals, that is there in several vectors; nil
// if there is none. Adding it up frees memory.
func (t *Tree) Part() *Sum {
	for count := t.shards; count > 1; count /= 2 {
		for first := uint32(0); first < t.shards; first += count {
			node := Node{first, count}
			if t.held[node] == nil && !slices.Contains(t.from[first:first+count], nil) {
				if sum := t.sum(node); len(sum.Operands) > 1 {
					return sum
				}
			}
		}
	}
	return nil
}

func (t *Tree) sum(node Node) *Sum {
	sum := &Sum{Node: node, Whole: node.Count == t.shards}
	for held, gradients := range t.held {
		if held.First < node.First || held.First >= node.First+node.Count || held.Count > node.Count {
			continue
		}
		operand := Operand{Node: held, Gradients: gradients}
		if c := t.from[held.First]; c.Node == held && c.Unchecked {
			operand.Unchecked = c
		}
		sum.Operands = append(sum.Operands, operand)
	}
	slices.SortFunc(sum.Operands, func(a, b Operand) int { return cmp.Compare(a.Node.First, b.Node.First) })
	return sum
}

// Has reports whether the shard has arrived.
func (t *Tree) Has(shard uint32) bool { return t.from[shard] != nil }

// Reports of all shards, in their order. Call it only when they are all there.
func (t *Tree) Reports() []protocol.Report {
	reports := make([]protocol.Report, t.shards)
	for shard, contribution := range t.from {
		reports[shard] = contribution.Reports[shard-int(contribution.Node.First)]
	}
	return reports
}

// At returns the contribution that holds a shard, or nil.
func (t *Tree) At(shard uint32) *Contribution { return t.from[shard] }

// Complete reports whether all shards have arrived.
func (t *Tree) Complete() bool { return t.missing == 0 }

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

// Discard releases what the tree holds, once the step is summed up or begun again.
func (t *Tree) Discard() {
	for _, gradients := range t.held {
		gradients.Release()
	}
	clear(t.held)
}

// Losses adds the losses of shards in the same tree. The length must be a power of two.
func Losses(reports []protocol.Report) float64 {
	return addUp(reports, func(r protocol.Report) float64 { return r.LossSum })
}

// Divisor returns what the sums of a step are divided by: the weights of the shards, added in the
// same tree, or 1 where their losses are sums. The length must be a power of two.
func Divisor(reports []protocol.Report) float64 {
	for _, r := range reports {
		if r.Samples > 0 && r.Summed {
			return 1
		}
	}
	return addUp(reports, func(r protocol.Report) float64 { return r.Weight })
}

// Mean returns the mean of a value by the weights of the shards that have it, both added in the
// same tree; NaN where none of them counts. Where all have the same value, it is that one, without
// rounding. The length must be a power of two.
func Mean(reports []protocol.Report, value func(protocol.Report) (float64, bool)) float64 {
	if common, is := common(reports, value); is {
		return common
	}
	sum := addUp(reports, func(r protocol.Report) float64 {
		if v, has := value(r); has && r.Weight > 0 {
			return v * r.Weight
		}
		return 0
	})
	return sum / addUp(reports, func(r protocol.Report) float64 {
		if _, has := value(r); has {
			return r.Weight
		}
		return 0
	})
}

// common returns the value that all shards have that have any.
func common(reports []protocol.Report, value func(protocol.Report) (float64, bool)) (first float64, is bool) {
	for _, report := range reports {
		v, has := value(report)
		switch {
		case !has:
		case !is:
			first, is = v, true
		case v != first:
			return 0, false
		}
	}
	return first, is
}

func addUp(reports []protocol.Report, value func(protocol.Report) float64) float64 {
	if len(reports) == 1 {
		return value(reports[0])
	}
	half := len(reports) / 2
	return addUp(reports[:half], value) + addUp(reports[half:], value)
}
