package vector

// kernelElements is how many elements the kernels take at once.
const kernelElements = 16

// addBlocks puts left + right into sum, for at least one block of kernelElements.
//
//go:noescape
func addBlocks(sum, left, right *float32, blocks int)

// addFourBlocks puts (a + b) + (c + d) into sum, for at least one block of kernelElements.
//
//go:noescape
func addFourBlocks(sum, a, b, c, d *float32, blocks int)

// finiteBlocks reports whether none of the elements of at least one block is NaN or Inf.
//
//go:noescape
func finiteBlocks(floats *float32, blocks int) bool
