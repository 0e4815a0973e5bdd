package run

import (
	"math"
	"strconv"
)

// Number is a figure in a file; NaN and Inf, which JSON cannot hold, become null.
type Number float64

// MarshalJSON gives the shortest text that reads back as the same number.
func (n Number) MarshalJSON() ([]byte, error) {
	if f := float64(n); !math.IsNaN(f) && !math.IsInf(f, 0) {
		return strconv.AppendFloat(nil, f, 'g', -1, 64), nil
	}
	return []byte("null"), nil
}
