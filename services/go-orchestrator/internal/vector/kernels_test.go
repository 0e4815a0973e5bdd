package vector

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestKernelsGiveTheBitsOfThePlainLoop at all lengths around a block, at every alignment, and where
// the sum is written over an operand.
func TestKernelsGiveTheBitsOfThePlainLoop(t *testing.T) {
	source := rand.New(rand.NewPCG(7, 7))
	for length := range 3*kernelElements + 2 {
		for offset := range 5 {
			operands := make([][]float32, 4)
			for i := range operands {
				operands[i] = make([]float32, offset+length)[offset:]
				for j := range operands[i] {
					// All exponents, also those of denormal numbers; and zeros of both signs.
					operands[i][j] = float32(math.Ldexp(source.Float64()-0.5, source.IntN(278)-150))
				}
			}
			a, b, c, d := operands[0], operands[1], operands[2], operands[3]
			pairs, fours := make([]float32, length), make([]float32, length)
			for i := range length {
				pairs[i] = a[i] + b[i]
				fours[i] = (a[i] + b[i]) + (c[i] + d[i])
			}
			sum := make([]float32, offset+length)[offset:]
			AddFour(sum, a, b, c, d)
			same(t, "of four", sum, fours)
			Add(sum, a, b)
			same(t, "of two", sum, pairs)
			Add(b, a, b)
			same(t, "over the right operand", b, pairs)
		}
	}
}

func same(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("the sum %s of %d elements has %v at %d; want %v", what, len(want), got[i], i, want[i])
		}
	}
}

func TestNotFiniteFindsTheFirstAtEveryPosition(t *testing.T) {
	for length := range 3*kernelElements + 2 {
		floats := make([]float32, length)
		for i := range floats {
			floats[i] = []float32{math.MaxFloat32, -math.MaxFloat32, 0, math.SmallestNonzeroFloat32}[i%4]
		}
		if at := NotFinite(floats); at != -1 {
			t.Errorf("%d finite elements: %d", length, at)
		}
		for position := range floats {
			for _, value := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
				kept := floats[position]
				floats[position] = float32(value)
				if at := NotFinite(floats); at != position {
					t.Errorf("%v at %d of %d elements: %d", value, position, length, at)
				}
				floats[position] = kept
			}
		}
	}
}
