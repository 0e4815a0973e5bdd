package tree

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"pangea.example/pangea/services/go-orchestrator/internal/budget"
	"pangea.example/pangea/services/go-orchestrator/internal/vector"
)

// golden is what all languages that add gradients must agree on. Numbers are float32, as their bits
// in hexadecimal.
type golden struct {
	Leaves []string
	Totals map[string]string
	Cases  []struct {
		Held, Separate []uint32
		Roots          []struct {
			First, Count uint32
			Bits         string
		}
	}
}

func readGolden(t *testing.T) (golden, []float32) {
	t.Helper()
	content, err := os.ReadFile("../../../../libraries/order/testdata/tree.json")
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(content, &g); err != nil {
		t.Fatal(err)
	}
	leaves := make([]float32, len(g.Leaves))
	for i, text := range g.Leaves {
		leaves[i] = math.Float32frombits(bitsOf(t, text))
	}
	return g, leaves
}

func bitsOf(t *testing.T, text string) uint32 {
	t.Helper()
	bits, err := strconv.ParseUint(text, 16, 32)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(bits)
}

// grown is a tree in which the leaves of these shards have arrived, in this order.
func grown(t *testing.T, shards uint32, arrivals []uint32, leaves []float32) *Tree {
	t.Helper()
	pool := vector.NewPool(budget.New("test", 1<<20))
	tree := New(shards)
	for _, shard := range arrivals {
		c, sum := contribution(t, pool, Node{shard, 1}, leaves[shard:shard+1])
		tree.Insert(c, sum)
	}
	return tree
}

func TestTotalsAreThoseOfEveryLanguage(t *testing.T) {
	g, leaves := readGolden(t)
	source := rand.New(rand.NewPCG(1, 2))
	for count, want := range g.Totals {
		shards, err := strconv.ParseUint(count, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		arrivals := make([]uint32, shards)
		for i := range arrivals {
			arrivals[i] = uint32(i)
		}
		for range 5 {
			got := added(grown(t, uint32(shards), arrivals, leaves).Root())
			if bits := math.Float32bits(got[0]); bits != bitsOf(t, want) {
				t.Errorf("%s shards in the order %v: %08x; want %s", count, arrivals, bits, want)
			}
			source.Shuffle(len(arrivals), func(i, j int) { arrivals[i], arrivals[j] = arrivals[j], arrivals[i] })
		}
	}
}

func TestRangesAreThoseOfEveryLanguage(t *testing.T) {
	g, leaves := readGolden(t)
	compared := 0
	for _, test := range g.Cases {
		// Separate shards are a worker's affair: to the orchestrator each is a contribution of its own.
		if len(test.Separate) > 0 {
			continue
		}
		var roots []Node
		for _, root := range test.Roots {
			roots = append(roots, Node{root.First, root.Count})
		}
		if got := Cover(test.Held); !slices.Equal(got, roots) {
			t.Errorf("%v is covered by %v; want %v", test.Held, got, roots)
		}
		tree := grown(t, uint32(len(leaves)), test.Held, leaves)
		for i, root := range test.Roots {
			if bits := math.Float32bits(added(tree.sum(roots[i]))[0]); bits != bitsOf(t, root.Bits) {
				t.Errorf("%s: %08x; want %s", roots[i], bits, root.Bits)
			}
			compared++
		}
	}
	if compared < 20 {
		t.Fatalf("only %d sums were compared", compared)
	}
}
