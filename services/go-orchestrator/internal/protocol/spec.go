package protocol

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"pangea.example/pangea/schemas/tensor"
)

// DType is the element type of a tensor.
type DType uint16

// The element types of the schema.
const (
	Unspecified = DType(tensor.DataType_unspecified)
	Float32     = DType(tensor.DataType_float32)
	Float64     = DType(tensor.DataType_float64)
	BFloat16    = DType(tensor.DataType_bfloat16)
	Float16     = DType(tensor.DataType_float16)
	Int32       = DType(tensor.DataType_int32)
	Int64       = DType(tensor.DataType_int64)
	Uint8       = DType(tensor.DataType_uint8)
	Bool        = DType(tensor.DataType_bool)
	Int8        = DType(tensor.DataType_int8)
	Int16       = DType(tensor.DataType_int16)
)

// String returns the name that torch uses, which is the schema's.
func (d DType) String() string {
	return cmp.Or(tensor.DataType(d).String(), fmt.Sprintf("dtype(%d)", uint16(d)))
}

// ParseDType finds a type by its name; Unspecified if there is none.
func ParseDType(name string) DType { return DType(tensor.DataTypeFromString(name)) }

// Size of one element in bytes; 0 for a type that this build does not know.
func (d DType) Size() uint64 {
	switch d {
	case Uint8, Int8, Bool:
		return 1
	case BFloat16, Float16, Int16:
		return 2
	case Float32, Int32:
		return 4
	case Float64, Int64:
		return 8
	}
	return 0
}

// Floating reports whether the type can have a gradient.
func (d DType) Floating() bool {
	return d == Float32 || d == Float64 || d == BFloat16 || d == Float16
}

// Spec is what a tensor looks like, without its data.
type Spec struct {
	Name  string
	DType DType
	Shape []uint64
}

// String gives, for example, `conv.weight float32 [8 1 3 3]`.
func (s Spec) String() string {
	dims := strings.Trim(fmt.Sprint(s.Shape), "[]")
	return fmt.Sprintf("%s %s [%s]", Foreign(s.Name), s.DType, dims)
}

// Equal reports whether name, type and shape are the same.
func (s Spec) Equal(other Spec) bool {
	return s.Name == other.Name && s.DType == other.DType && slices.Equal(s.Shape, other.Shape)
}

// Elements multiplies the shape, refusing what no tensor can be.
func (s Spec) Elements() (uint64, error) {
	if len(s.Shape) > int(tensor.MaxDimensions) {
		return 0, fmt.Errorf("tensor %s has %d dimensions; at most %d are allowed", Foreign(s.Name), len(s.Shape),
			tensor.MaxDimensions)
	}
	if s.DType.Size() == 0 {
		return 0, fmt.Errorf("tensor %s has the unknown element type %s", Foreign(s.Name), s.DType)
	}
	if slices.Contains(s.Shape, 0) {
		return 0, nil
	}
	elements := uint64(1)
	limit := uint64(math.MaxInt64) / max(s.DType.Size(), Float32.Size())
	for _, dim := range s.Shape {
		if elements > limit/dim {
			return 0, fmt.Errorf("tensor %s with shape %v is larger than 63 bits can count", Foreign(s.Name), s.Shape)
		}
		elements *= dim
	}
	return elements, nil
}
