package vector

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pangea.example/pangea/services/go-orchestrator/internal/budget"
)

func build(t *testing.T, pool *Pool, values []float32) (*Vector, Digest) {
	t.Helper()
	builder := pool.Build(len(values))
	if err := builder.Write(Bytes(values)); err != nil {
		t.Fatal(err)
	}
	return builder.Finish()
}

func random(seed uint64, n int) []float32 {
	source := rand.New(rand.NewPCG(seed, 0))
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(source.NormFloat64())
	}
	return values
}

func TestAdditionsEqualThePlainLoop(t *testing.T) {
	// Lengths around the unrolling.
	for _, n := range []int{0, 1, 7, 8, 9, 17, 1003} {
		a, b, c, d := random(1, n), random(2, n), random(3, n), random(4, n)
		two, four, in := make([]float32, n), make([]float32, n), slices.Clone(a)
		Add(two, a, b)
		Add(in, in, b)
		AddFour(four, a, b, c, d)
		for i := range n {
			left, right := a[i]+b[i], c[i]+d[i]
			if two[i] != left || in[i] != left || four[i] != left+right {
				t.Fatalf("element %d of %d is %v, %v in place, and %v of four; want %v and %v", i, n, two[i], in[i], four[i],
					left, left+right)
			}
		}
	}
}

func TestNotFinite(t *testing.T) {
	bad := []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), math.Float32frombits(0x7f800001),
		math.Float32frombits(0xffffffff)}
	// At every position, in slices that start at an even and at an odd element.
	for start := range 2 {
		for n := 1; n < 12; n++ {
			values := random(3, start+n)[start:]
			values[0] = math.MaxFloat32
			values[n-1] = -math.SmallestNonzeroFloat32
			if at := NotFinite(values); at != -1 {
				t.Fatalf("finite values: found %d", at)
			}
			for i := range values {
				for _, value := range bad {
					kept := values[i]
					values[i] = value
					if at := NotFinite(values); at != i {
						t.Fatalf("%v at %d of %d: found %d", value, i, n, at)
					}
					values[i] = kept
				}
			}
		}
	}
	if NotFinite(nil) != -1 {
		t.Fatal("no values are finite")
	}
}

func TestBuilder(t *testing.T) {
	values := random(4, BlockElements+1000)
	t.Run("the cut of the bytes does not matter", func(t *testing.T) {
		pool := NewPool(budget.New("test", 1<<30))
		_, want := build(t, pool, values)
		builder := pool.Build(len(values))
		for rest := Bytes(values); len(rest) > 0; {
			n := min(len(rest), 4*333)
			if err := builder.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if _, got := builder.Finish(); !got.Equal(want) {
			t.Fatal("digests of the same bits differ")
		}
	})
	t.Run("one other bit gives another digest", func(t *testing.T) {
		pool := NewPool(budget.New("test", 1<<30))
		_, want := build(t, pool, values)
		values[77] = -values[77]
		if _, got := build(t, pool, values); got.Equal(want) {
			t.Fatal("digests of different bits are equal")
		}
	})
	t.Run("memory is taken only when bytes come", func(t *testing.T) {
		memory := budget.New("test", 8*BlockElements)
		builder := NewPool(memory).Build(1 << 40)
		if memory.Used() != 0 {
			t.Fatalf("%d bytes taken before any arrived", memory.Used())
		}
		if err := builder.Write(make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		if memory.Used() != 4*BlockElements {
			t.Fatalf("%d bytes taken; want one block", memory.Used())
		}
		var exhausted *budget.ExhaustedError
		if err := builder.Write(make([]byte, 12*BlockElements)); !errors.As(err, &exhausted) {
			t.Fatalf("error is %v; want an exhausted budget", err)
		}
	})
	t.Run("a NaN is found with its position", func(t *testing.T) {
		pool := NewPool(budget.New("test", 1<<30))
		bad := random(5, 100_000)
		bad[70_001] = float32(math.NaN())
		var notFinite *NotFiniteError
		if err := pool.Build(len(bad)).Write(Bytes(bad)); !errors.As(err, &notFinite) || notFinite.Position != 70_001 {
			t.Fatalf("error is %v; want element 70001", err)
		}
	})
	t.Run("too many elements and half elements are refused", func(t *testing.T) {
		pool := NewPool(budget.New("test", 1<<30))
		if pool.Build(2).Write(make([]byte, 12)) == nil || pool.Build(2).Write(make([]byte, 3)) == nil {
			t.Fatal("accepted")
		}
	})
	t.Run("a vector for a sum is never refused", func(t *testing.T) {
		memory := budget.New("test", 8)
		sum := NewPool(memory).New(BlockElements + 1)
		if len(sum.Blocks()) != 2 || len(sum.Blocks()[1]) != 1 || memory.Used() != 4*(BlockElements+1) || memory.Take(1) == nil {
			t.Fatalf("%d blocks, %d bytes taken", len(sum.Blocks()), memory.Used())
		}
	})
	t.Run("released blocks are used again", func(t *testing.T) {
		memory := budget.New("test", 1<<30)
		pool := NewPool(memory)
		for range 5 {
			vector, _ := build(t, pool, values)
			vector.Retain().Release()
			vector.Release()
		}
		if want := int64(len(values)) * 4; memory.Used() != want {
			t.Fatalf("%d bytes taken; want %d", memory.Used(), want)
		}
	})
}

func BenchmarkBuild100MB(b *testing.B) {
	pool := NewPool(budget.New("bench", 1<<30))
	data := make([]byte, 4<<20)
	b.SetBytes(100 << 20)
	for b.Loop() {
		builder := pool.Build(25 << 20)
		for range 25 {
			if err := builder.Write(data); err != nil {
				b.Fatal(err)
			}
		}
		vector, _ := builder.Finish()
		vector.Release()
	}
}
