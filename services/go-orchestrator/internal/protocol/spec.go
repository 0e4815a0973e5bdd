package protocol

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// MaxDimensions of a tensor, as the schema sets it.
const MaxDimensions = 8

// DType is the element type of a tensor, with the numbers of the schema's DataType.
type DType uint16

// The element types of the schema.
const (
	Unspecified DType = iota
	Float32
	Float64
	BFloat16
	Float16
	Int32
	Int64
	Uint8
	Bool
	Int8
	Int16
)

var dtypeNames = [...]string{"unspecified", "float32", "float64", "bfloat16", "float16", "int32", "int64", "uint8", "bool", "int8", "int16"}
var dtypeSizes = [...]uint64{0, 4, 8, 2, 2, 4, 8, 1, 1, 1, 2}

// String gives the name that torch uses.
func (d DType) String() string {
	if int(d) < len(dtypeNames) {
		return dtypeNames[d]
	}
	return fmt.Sprintf("dtype(%d)", uint16(d))
}

// ParseDType knows a type by its name; Unspecified if there is none.
func ParseDType(name string) DType {
	return DType(max(0, slices.Index(dtypeNames[:], name)))
}

// Size of one element in bytes; 0 for a type that this build does not know.
func (d DType) Size() uint64 {
	if int(d) < len(dtypeSizes) {
		return dtypeSizes[d]
	}
	return 0
}

// Floating says whether the type can have a gradient.
func (d DType) Floating() bool { return d >= Float32 && d <= Float16 }

// Spec is what a tensor looks like, without its data.
type Spec struct {
	Name  string
	DType DType
	Shape []uint64
}

// String gives, for example, `conv.weight float32 [8 1 3 3]`.
func (s Spec) String() string {
	dims := strings.Trim(fmt.Sprint(s.Shape), "[]")
	return fmt.Sprintf("%s %s [%s]", s.Name, s.DType, dims)
}

// Equal says whether name, type and shape are the same.
func (s Spec) Equal(other Spec) bool {
	return s.Name == other.Name && s.DType == other.DType && slices.Equal(s.Shape, other.Shape)
}

// Elements multiplies the shape, refusing what no tensor can be.
func (s Spec) Elements() (uint64, error) {
	if len(s.Shape) > MaxDimensions {
		return 0, fmt.Errorf("tensor %s has %d dimensions; at most %d are allowed", s.Name, len(s.Shape), MaxDimensions)
	}
	if s.DType.Size() == 0 {
		return 0, fmt.Errorf("tensor %s has the unknown element type %s", s.Name, s.DType)
	}
	if slices.Contains(s.Shape, 0) {
		return 0, nil
	}
	elements := uint64(1)
	limit := uint64(math.MaxInt64) / max(s.DType.Size(), Float32.Size())
	for _, dim := range s.Shape {
		if elements > limit/dim {
			return 0, fmt.Errorf("tensor %s with shape %v is larger than 63 bits can count", s.Name, s.Shape)
		}
		elements *= dim
	}
	return elements, nil
}
