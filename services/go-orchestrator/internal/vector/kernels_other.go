//go:build !amd64

package vector

import "unsafe"

// kernelElements is how many elements the kernels take at once.
const kernelElements = 16

// block is the i-th of an array of blocks.
func block(floats *float32, i int) *[kernelElements]float32 {
	return (*[kernelElements]float32)(unsafe.Add(unsafe.Pointer(floats), i*kernelElements*4))
}

// addBlocks puts left + right into sum, for at least one block of kernelElements.
func addBlocks(sum, left, right *float32, blocks int) {
	for i := range blocks {
		s, l, r := block(sum, i), block(left, i), block(right, i)
		for j := range s {
			s[j] = l[j] + r[j]
		}
	}
}

// addFourBlocks puts (a + b) + (c + d) into sum, for at least one block of kernelElements.
func addFourBlocks(sum, a, b, c, d *float32, blocks int) {
	for i := range blocks {
		s, a, b, c, d := block(sum, i), block(a, i), block(b, i), block(c, i), block(d, i)
		for j := range s {
			s[j] = (a[j] + b[j]) + (c[j] + d[j])
		}
	}
}

// finiteBlocks reports whether none of the elements of at least one block is NaN or Inf.
func finiteBlocks(floats *float32, blocks int) bool {
	finite := true
	for i := range blocks {
		for _, value := range block(floats, i) {
			finite = finite && value-value == 0
		}
	}
	return finite
}
