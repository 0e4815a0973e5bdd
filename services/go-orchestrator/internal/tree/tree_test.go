package tree

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pangea.example/pangea/services/go-orchestrator/internal/budget"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/vector"
)

const elements = 37

// reference adds a range by the definition: node(first, count) = node(first, count/2) +
// node(first+count/2, count/2).
func reference(leaves [][]float32) []float32 {
	if len(leaves) == 1 {
		return slices.Clone(leaves[0])
	}
	left, right := reference(leaves[:len(leaves)/2]), reference(leaves[len(leaves)/2:])
	for i := range left {
		left[i] = left[i] + right[i]
	}
	return left
}

// leavesOf returns gradients whose sum depends on the order of the additions.
func leavesOf(source *rand.Rand, shards int) [][]float32 {
	leaves := make([][]float32, shards)
	for s := range leaves {
		leaves[s] = make([]float32, elements)
		for i := range leaves[s] {
			leaves[s][i] = float32(source.NormFloat64() * math.Pow(10, float64(source.IntN(9)-4)))
		}
	}
	return leaves
}

// grouping cuts [first, first+count) into random aligned ranges.
func grouping(source *rand.Rand, node Node) []Node {
	if node.Count == 1 || source.IntN(3) == 0 {
		return []Node{node}
	}
	half := node.Count / 2
	return append(grouping(source, Node{node.First, half}), grouping(source, Node{node.First + half, half})...)
}

func contribution(t *testing.T, pool *vector.Pool, node Node, values []float32) (*Contribution, *vector.Vector) {
	t.Helper()
	builder := pool.Build(len(values))
	if err := builder.Write(vector.Bytes(values)); err != nil {
		t.Fatal(err)
	}
	sum, digest := builder.Finish()
	c := &Contribution{Node: node, Worker: 1, Digest: digest}
	for shard := node.First; shard < node.First+node.Count; shard++ {
		c.Reports = append(c.Reports, protocol.Report{Shard: shard, LossSum: float64(shard)})
	}
	return c, sum
}

// added evaluates a sum in the plainest way.
func added(sum *Sum) []float32 {
	if len(sum.Operands) == 1 {
		return slices.Concat(sum.Operands[0].Gradients.Blocks()...)
	}
	left, right := sum.Halves()
	total, other := slices.Clone(added(&left)), added(&right)
	for i := range total {
		total[i] += other[i]
	}
	return total
}

// add replaces a part of a tree by its sum.
func add(t *testing.T, pool *vector.Pool, tree *Tree, sum *Sum) {
	t.Helper()
	_, total := contribution(t, pool, sum.Node, added(sum))
	tree.Replace(sum.Node, total)
}

func TestAnyArrivalOrderAndGroupingGivesTheSameBits(t *testing.T) {
	for shards := uint32(1); shards <= 64; shards *= 2 {
		t.Run(fmt.Sprint(shards, " shards"), func(t *testing.T) {
			source := rand.New(rand.NewPCG(uint64(shards), 7))
			leaves := leavesOf(source, int(shards))
			want := vector.Bytes(reference(leaves))
			memory := budget.New("test", 1<<30)
			pool := vector.NewPool(memory)
			for round := range 60 {
				nodes := grouping(source, Node{0, shards})
				source.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
				tree := New(shards)
				for i, node := range nodes {
					c, sum := contribution(t, pool, node, reference(leaves[node.First:node.First+node.Count]))
					if outcome, _ := tree.Compare(c); outcome != Fresh {
						t.Fatalf("round %d: %s is %d; want fresh", round, node, outcome)
					}
					tree.Insert(c, sum)
					if tree.Complete() != (i == len(nodes)-1) {
						t.Fatalf("round %d: complete is %v after %d of %d nodes", round, tree.Complete(), i+1, len(nodes))
					}
					// Parts may be added up at any time, or not at all.
					for source.IntN(2) == 0 {
						part := tree.Part()
						if part == nil {
							break
						}
						add(t, pool, tree, part)
					}
				}
				if got := vector.Bytes(added(tree.Root())); !slices.Equal(got, want) {
					t.Fatalf("round %d: different bits for %v", round, nodes)
				}
				tree.Discard()
				for shard, report := range tree.Reports() {
					if report.Shard != uint32(shard) {
						t.Fatalf("report of shard %d stands at %d", report.Shard, shard)
					}
				}
			}
			if most := int64(shards+1) * elements * 4; memory.Used() > most {
				t.Fatalf("%d bytes were taken over all rounds; one step needs %d at most", memory.Used(), most)
			}
		})
	}
}

func TestPartsThatAreAddedUpLeaveHalfOfTheShardsAtMost(t *testing.T) {
	const shards = 64
	source := rand.New(rand.NewPCG(9, 7))
	leaves := leavesOf(source, shards)
	pool := vector.NewPool(budget.New("test", 1<<30))
	tree := New(shards)
	for _, shard := range source.Perm(shards) {
		c, sum := contribution(t, pool, Node{uint32(shard), 1}, leaves[shard])
		tree.Insert(c, sum)
		for part := tree.Part(); part != nil; part = tree.Part() {
			add(t, pool, tree, part)
		}
		if tree.Held() > shards/2 {
			t.Fatalf("%d vectors are held", tree.Held())
		}
	}
	if tree.Held() != 1 {
		t.Fatalf("%d vectors are held of a complete step that is added up", tree.Held())
	}
}

func TestTheOrderOfAdditionsMatters(t *testing.T) {
	// Guards the test above: its numbers must tell the tree from a running sum.
	leaves := leavesOf(rand.New(rand.NewPCG(8, 7)), 8)
	running := slices.Clone(leaves[0])
	for _, leaf := range leaves[1:] {
		for i := range running {
			running[i] += leaf[i]
		}
	}
	if slices.Equal(running, reference(leaves)) {
		t.Fatal("the numbers are too tame")
	}
}

func TestCompare(t *testing.T) {
	pool := vector.NewPool(budget.New("test", 1<<20))
	ones, twos := []float32{1, 1}, []float32{2, 2}
	tree := New(8)
	first, sum := contribution(t, pool, Node{2, 2}, ones)
	tree.Insert(first, sum)
	other := func(change func(*Contribution), node Node, values []float32) *Contribution {
		c, _ := contribution(t, pool, node, values)
		if change != nil {
			change(c)
		}
		return c
	}
	for _, test := range []struct {
		scenario string
		given    *Contribution
		want     Outcome
	}{
		{"the same again", other(nil, Node{2, 2}, ones), Same},
		{"other gradients", other(nil, Node{2, 2}, twos), Differs},
		{"the same gradients from other samples", other(func(c *Contribution) { c.Reports[1].BatchHash[0] = 1 }, Node{2, 2},
			ones), Differs},
		{"the same gradients with another weight", other(func(c *Contribution) { c.Reports[1].Weight = 2 }, Node{2, 2}, ones),
			Differs},
		{"the same gradients of a loss that is a sum", other(func(c *Contribution) { c.Reports[0].Summed = true }, Node{2, 2},
			ones), Differs},
		{"a part of it", other(nil, Node{3, 1}, ones), Overlaps},
		{"more than it", other(nil, Node{0, 4}, ones), Overlaps},
		{"beside it", other(nil, Node{0, 2}, ones), Fresh},
	} {
		t.Run(test.scenario, func(t *testing.T) {
			if got, _ := tree.Compare(test.given); got != test.want {
				t.Fatalf("outcome %d; want %d", got, test.want)
			}
		})
	}
}

func TestNodeCheck(t *testing.T) {
	for _, test := range []struct {
		node Node
		good bool
	}{
		{Node{0, 1}, true}, {Node{7, 1}, true}, {Node{4, 4}, true}, {Node{0, 8}, true},
		{Node{0, 0}, false}, {Node{0, 3}, false}, {Node{2, 4}, false}, {Node{8, 1}, false}, {Node{0, 16}, false},
		{Node{1 << 31, 1 << 31}, false}, {Node{math.MaxUint32, 1}, false},
	} {
		if err := test.node.Check(8); (err == nil) != test.good {
			t.Errorf("%+v: %v", test.node, err)
		}
	}
}

func TestCover(t *testing.T) {
	for _, test := range []struct {
		shards []uint32
		want   []Node
	}{
		{[]uint32{0, 1, 2}, []Node{{0, 2}, {2, 1}}},
		{[]uint32{0, 1, 2, 3, 4, 5, 6, 7}, []Node{{0, 8}}},
		{[]uint32{1, 2, 3, 4}, []Node{{1, 1}, {2, 2}, {4, 1}}},
		{[]uint32{3, 5}, []Node{{3, 1}, {5, 1}}},
		{nil, nil},
	} {
		if got := Cover(test.shards); !slices.Equal(got, test.want) {
			t.Errorf("%v is covered by %v; want %v", test.shards, got, test.want)
		}
	}
}

func TestLosses(t *testing.T) {
	// In the tree both ones vanish in the large numbers; a running sum would keep the last one.
	reports := []protocol.Report{{LossSum: 1e16}, {LossSum: 1}, {LossSum: -1e16}, {LossSum: 1}}
	if got := Losses(reports); got != 0 {
		t.Fatalf("sum %v; want 0", got)
	}
}

func TestDivisor(t *testing.T) {
	for _, test := range []struct {
		scenario string
		reports  []protocol.Report
		want     float64
	}{
		{"weights are added in the tree", []protocol.Report{{Samples: 1, Weight: 1e16}, {Samples: 1, Weight: 1},
			{Samples: 1, Weight: 1}, {Samples: 1, Weight: 1}}, 1e16 + 2},
		{"nothing counts", []protocol.Report{{Samples: 3}, {Samples: 3}}, 0},
		{"losses that are sums", []protocol.Report{{Samples: 3, Weight: 7, Summed: true}, {}}, 1},
		{"an empty shard says nothing", []protocol.Report{{Samples: 3, Weight: 7}, {Summed: true}}, 7},
	} {
		t.Run(test.scenario, func(t *testing.T) {
			if got := Divisor(test.reports); got != test.want {
				t.Fatalf("divisor %v; want %v", got, test.want)
			}
		})
	}
}
