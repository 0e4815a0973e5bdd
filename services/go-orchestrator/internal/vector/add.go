package vector

// Add puts left + right into sum, element by element. All three have the same length; sum may be
// one of the others. A plain loop would be bound by the processor, not by memory: the compiler adds
// one element at a time.
func Add(sum, left, right []float32) {
	left, right = left[:len(sum)], right[:len(sum)]
	blocks := len(sum) / kernelElements
	if blocks > 0 {
		addBlocks(&sum[0], &left[0], &right[0], blocks)
	}
	for i := blocks * kernelElements; i < len(sum); i++ {
		sum[i] = left[i] + right[i]
	}
}

// AddFour puts (a + b) + (c + d) into sum, element by element. All have the same length.
func AddFour(sum, a, b, c, d []float32) {
	a, b, c, d = a[:len(sum)], b[:len(sum)], c[:len(sum)], d[:len(sum)]
	blocks := len(sum) / kernelElements
	if blocks > 0 {
		addFourBlocks(&sum[0], &a[0], &b[0], &c[0], &d[0], blocks)
	}
	for i := blocks * kernelElements; i < len(sum); i++ {
		sum[i] = (a[i] + b[i]) + (c[i] + d[i])
	}
}

// NotFinite returns the position of the first NaN or Inf, or -1.
func NotFinite(floats []float32) int {
	from := 0
	if blocks := len(floats) / kernelElements; blocks > 0 && finiteBlocks(&floats[0], blocks) {
		from = blocks * kernelElements
	}
	for i := from; i < len(floats); i++ {
		if floats[i]-floats[i] != 0 {
			return i
		}
	}
	return -1
}
