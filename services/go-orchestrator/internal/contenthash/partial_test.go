package contenthash

import (
	"math/rand/v2"
	"testing"
)

func TestABlockInPartsHasTheLeafOfTheWhole(t *testing.T) {
	source := rand.New(rand.NewPCG(1, 2))
	sizes := []int{0, 1, 4, 240, 241, 1020, 1023, 1024, 1025, 1028, 1087, 1088, 1089, 2047, 2048, 2049, 70_000,
		BlockBytes - 4, BlockBytes}
	for range 200 {
		sizes = append(sizes, 1+source.IntN(100_000))
	}
	var partial Partial // one for all blocks, as it is used
	for _, size := range sizes {
		block := content(uint64(size), uint64(size))
		want := LeafOf(block)
		for _, part := range []int{1, 1000, 1024, 4096, 65_536, 1 << 20, BlockBytes} {
			if size/part > 1000 {
				continue
			}
			for to := part; to <= size; to += part {
				partial.Reach(block, to, block[to:])
			}
			if got := partial.Leaf(block); got != want {
				t.Fatalf("%d bytes in parts of %d: %x instead of %x", size, part, got, want)
			}
		}
		if got := partial.Leaf(block); got != want {
			t.Fatalf("%d bytes at once: %x instead of %x", size, got, want)
		}
	}
}

func TestWithoutAKernelTheLeafIsTheSame(t *testing.T) {
	block := content(9, 300_000)
	want := LeafOf(block)
	defer func(has bool) { hasKernel = has }(hasKernel)
	hasKernel = false
	var partial Partial
	partial.Reach(block, 200_000, nil)
	if got := partial.Leaf(block); got != want {
		t.Fatalf("%x instead of %x", got, want)
	}
}

func TestAnyUnalignedBlockHasItsLeaf(t *testing.T) {
	memory := content(5, 10_000)
	for start := range 64 {
		var partial Partial
		partial.Reach(memory[start:], 5_000, nil)
		if got, want := partial.Leaf(memory[start:]), LeafOf(memory[start:]); got != want {
			t.Fatalf("from byte %d: %x instead of %x", start, got, want)
		}
	}
}

func BenchmarkPartsOf32KiB(b *testing.B) {
	block := content(1, uint64(BlockBytes))
	b.SetBytes(int64(BlockBytes))
	for b.Loop() {
		var partial Partial
		for to := 32 << 10; to <= len(block); to += 32 << 10 {
			partial.Reach(block, to, nil)
		}
		partial.Leaf(block)
	}
}

func BenchmarkWhole(b *testing.B) {
	block := content(1, uint64(BlockBytes))
	b.SetBytes(int64(BlockBytes))
	for b.Loop() {
		LeafOf(block)
	}
}
