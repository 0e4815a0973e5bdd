package adder

import (
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pangea.example/pangea/services/go-orchestrator/internal/budget"
	"pangea.example/pangea/services/go-orchestrator/internal/contenthash"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/tree"
	"pangea.example/pangea/services/go-orchestrator/internal/vector"
)

func testPool() *vector.Pool { return vector.NewPool(budget.New("test", 4<<30)) }

func testAdder(pool *vector.Pool, cores int) *Adder {
	adder := New(pool)
	adder.cores = cores
	return adder
}

// leaf is a gradient whose sums depend on the order of the additions.
func leaf(source *rand.Rand, elements int) []float32 {
	values := make([]float32, elements)
	for i := range values {
		values[i] = (source.Float32() - 0.5) * float32(int64(1)<<source.IntN(30))
	}
	return values
}

// reference adds by the definition of the tree.
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

// step is a tree in which all shards have arrived, as contributions over these nodes.
func step(t *testing.T, pool *vector.Pool, leaves [][]float32, nodes []tree.Node) *tree.Tree {
	t.Helper()
	grown := tree.New(uint32(len(leaves)))
	for _, node := range nodes {
		builder := pool.Build(len(leaves[0]))
		if err := builder.Write(vector.Bytes(reference(leaves[node.First : node.First+node.Count]))); err != nil {
			t.Fatal(err)
		}
		gradients, digest := builder.Finish()
		grown.Insert(&tree.Contribution{Node: node, Worker: 1, Digest: digest, Unchecked: true}, gradients)
	}
	return grown
}

// grouping cuts a node into random nodes.
func grouping(source *rand.Rand, node tree.Node) []tree.Node {
	if node.Count == 1 || source.IntN(3) == 0 {
		return []tree.Node{node}
	}
	half := node.Count / 2
	return append(grouping(source, tree.Node{First: node.First, Count: half}),
		grouping(source, tree.Node{First: node.First + half, Count: half})...)
}

func flat(v *vector.Vector) []float32 { return slices.Concat(v.Blocks()...) }

func TestAnyGroupingSizeAndNumberOfCoresGivesTheSameBits(t *testing.T) {
	const block, part = vector.BlockElements, partElements
	for _, test := range []struct {
		elements, shards, rounds int
	}{
		{1, 64, 60}, {part - 1, 16, 30}, {part + 1, 8, 30}, {3*part + 5, 32, 20}, {block + 1, 8, 6}, {3*block + part + 7, 4, 4},
	} {
		t.Run(fmt.Sprintf("%d elements, %d shards", test.elements, test.shards), func(t *testing.T) {
			source := rand.New(rand.NewPCG(uint64(test.elements), uint64(test.shards)))
			leaves := make([][]float32, test.shards)
			for i := range leaves {
				leaves[i] = leaf(source, test.elements)
			}
			want := reference(leaves)
			pool := testPool()
			for round := range test.rounds {
				nodes := grouping(source, tree.Node{Count: uint32(test.shards)})
				grown := step(t, pool, leaves, nodes)
				before := vector.Bytes(slices.Concat(flatOperands(grown.Root())...))
				sum := grown.Root()
				if sum.Method = contenthash.SHA256; round%2 == 0 {
					sum.Method = contenthash.XXH3Tree
				}
				hash := sum.Method.Of(vector.Bytes(want))
				got := testAdder(pool, 1+round%4).Add(sum)
				if !slices.Equal(vector.Bytes(flat(got.Sum)), vector.Bytes(want)) || got.Hash != hash {
					t.Fatalf("round %d: different bits or a different hash for %v", round, nodes)
				}
				if got.NotFinite != -1 || got.Wrong != nil || got.Node.Count != uint32(test.shards) {
					t.Fatalf("round %d: %+v", round, got)
				}
				if !slices.Equal(vector.Bytes(slices.Concat(flatOperands(grown.Root())...)), before) {
					t.Fatalf("round %d: an operand was written to", round)
				}
				got.Sum.Release()
				grown.Discard()
			}
		})
	}
}

func flatOperands(sum *tree.Sum) [][]float32 {
	var all [][]float32
	for _, operand := range sum.Operands {
		all = append(all, flat(operand.Gradients))
	}
	return all
}

func TestASumOfOneOperandIsThatOperand(t *testing.T) {
	pool := testPool()
	grown := step(t, pool, [][]float32{{1, 2, 3}}, []tree.Node{{First: 0, Count: 1}})
	sum := grown.Root()
	got := New(pool).Add(sum)
	if got.Sum != sum.Operands[0].Gradients || got.Hash != protocol.Hash(sha256.Sum256(vector.Bytes([]float32{1, 2, 3}))) {
		t.Fatalf("%+v", got)
	}
	grown.Discard()
	if got.Sum.Blocks() == nil {
		t.Fatal("the sum was released with its operand")
	}
}

func TestTheOnlyOperandIsCopiedFromAnothersMemoryAndHashedOnce(t *testing.T) {
	memory := vector.Bytes(leaf(rand.New(rand.NewPCG(3, 3)), vector.BlockElements+10))
	for _, method := range []contenthash.Method{contenthash.XXH3Tree, contenthash.SHA256} {
		for _, rewritten := range []bool{false, true} {
			slot, err := vector.Over(memory, func() {})
			if err != nil {
				t.Fatal(err)
			}
			contribution := &tree.Contribution{Node: tree.Node{Count: 1}, Digest: slot.Digest(), Unchecked: true}
			if rewritten {
				contribution.Digest[0]++
			}
			grown := tree.New(1)
			grown.Insert(contribution, slot)
			sum := grown.Root()
			sum.Method = method
			got := New(testPool()).Add(sum)
			if got.Sum == slot || !slices.Equal(slices.Concat(got.Sum.Blocks()...), flat(slot)) || got.Hash != method.Of(memory) {
				t.Fatalf("%s: not a copy, or not its hash", method)
			}
			if found := len(got.Wrong) == 1 && got.Wrong[0].Rewritten; found != rewritten {
				t.Fatalf("%s, rewritten: %v, found %+v", method, rewritten, got.Wrong)
			}
		}
	}
}

func TestWhatIsWrongWithAnOperandIsFound(t *testing.T) {
	const elements = vector.BlockElements + 100
	at := vector.BlockElements + 77
	inf := float32(math.Inf(1))
	for _, test := range []struct {
		scenario  string
		change    func(operands []tree.Operand)
		notFinite int
		wrong     []tree.Wrong // without their contributions
	}{
		{"nothing", func([]tree.Operand) {}, -1, nil},
		{"a bit is different from what was submitted", func(o []tree.Operand) { o[1].Gradients.Blocks()[1][77] = 9 }, -1,
			[]tree.Wrong{{Rewritten: true, NotFinite: -1}}},
		{"an operand is infinite, and rewritten", func(o []tree.Operand) { o[1].Gradients.Blocks()[1][77] = inf }, at,
			[]tree.Wrong{{Rewritten: true, NotFinite: at, Value: inf}}},
		{"an operand was infinite when it was submitted", func(o []tree.Operand) {
			o[0].Gradients.Blocks()[1][77] = inf
			o[0].Unchecked.Digest = o[0].Gradients.Digest()
		}, at, []tree.Wrong{{NotFinite: at, Value: inf}}},
		{"finite operands overflow", func(o []tree.Operand) {
			for _, operand := range o {
				operand.Gradients.Blocks()[1][77] = math.MaxFloat32
				operand.Unchecked.Digest = operand.Gradients.Digest()
			}
		}, at, nil},
	} {
		t.Run(test.scenario, func(t *testing.T) {
			pool := testPool()
			source := rand.New(rand.NewPCG(1, 1))
			grown := step(t, pool, [][]float32{leaf(source, elements), leaf(source, elements)},
				[]tree.Node{{First: 0, Count: 1}, {First: 1, Count: 1}})
			sum := grown.Root()
			test.change(sum.Operands)
			got := New(pool).Add(sum)
			if got.NotFinite != test.notFinite || len(got.Wrong) != len(test.wrong) {
				t.Fatalf("%+v", got)
			}
			for i, wrong := range got.Wrong {
				if wrong.Contribution == nil {
					t.Fatal("no contribution is named")
				}
				if wrong.Contribution = nil; wrong != test.wrong[i] {
					t.Fatalf("%+v; want %+v", wrong, test.wrong[i])
				}
			}
		})
	}
}

func benchmark(b *testing.B, operands int, unchecked bool) {
	const elements = 25 << 20
	pool := testPool()
	grown := tree.New(uint32(operands))
	for i := range operands {
		builder := pool.Build(elements)
		if err := builder.Write(make([]byte, 4*elements)); err != nil {
			b.Fatal(err)
		}
		gradients, digest := builder.Finish()
		grown.Insert(&tree.Contribution{Node: tree.Node{First: uint32(i), Count: 1}, Digest: digest,
			Unchecked: unchecked}, gradients)
	}
	sum := grown.Root()
	sum.Method = contenthash.XXH3Tree
	adder := New(pool)
	b.SetBytes(4 * elements)
	for b.Loop() {
		adder.Add(sum).Sum.Release()
	}
}

func BenchmarkTwoOf100MB(b *testing.B)           { benchmark(b, 2, false) }
func BenchmarkTwoUncheckedOf100MB(b *testing.B)  { benchmark(b, 2, true) }
func BenchmarkFourUncheckedOf100MB(b *testing.B) { benchmark(b, 4, true) }
func BenchmarkEightOf100MB(b *testing.B)         { benchmark(b, 8, false) }
