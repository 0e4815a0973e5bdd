package protocol

import (
	"fmt"

	"pangea.example/pangea/schemas/tensor"
)

// Layout says where each trainable parameter lies in the flat float32 vector that gradients travel
// as.
type Layout struct {
	Specs    []Spec
	starts   []int // first element of each tensor, and the total as one more entry
	elements int
}

// NewLayout lays the tensors out in their order. It refuses what cannot be a model; maxElements
// limits the total.
func NewLayout(specs []Spec, maxElements uint64) (*Layout, error) {
	if len(specs) == 0 {
		return nil, fmt.Errorf("the model has no trainable parameters")
	}
	if len(specs) > int(tensor.MaxParameters) {
		return nil, fmt.Errorf("the model has %d parameters; at most %d are allowed", len(specs), tensor.MaxParameters)
	}
	layout := &Layout{Specs: specs, starts: make([]int, 0, len(specs)+1)}
	seen := make(map[string]struct{}, len(specs))
	total := uint64(0)
	for i, spec := range specs {
		if spec.Name == "" {
			return nil, fmt.Errorf("parameter %d has no name", i)
		}
		if _, twice := seen[spec.Name]; twice {
			return nil, fmt.Errorf("two parameters are named %s", Foreign(spec.Name))
		}
		seen[spec.Name] = struct{}{}
		if !spec.DType.Floating() {
			return nil, fmt.Errorf("parameter %s is %s; only floating-point parameters have gradients", Foreign(spec.Name), spec.DType)
		}
		elements, err := spec.Elements()
		if err != nil {
			return nil, err
		}
		layout.starts = append(layout.starts, int(total))
		total += elements
		if elements > maxElements || total > maxElements {
			return nil, fmt.Errorf("the model has more than %d elements (reached at parameter %s)", maxElements, Foreign(spec.Name))
		}
	}
	if total == 0 {
		return nil, fmt.Errorf("all %d parameters of the model are empty", len(specs))
	}
	layout.starts = append(layout.starts, int(total))
	layout.elements = int(total)
	return layout, nil
}

// Elements of all tensors together.
func (l *Layout) Elements() int { return l.elements }

// Bytes that one gradient takes as float32.
func (l *Layout) Bytes() int64 { return int64(l.elements) * 4 }

// Range returns the elements [from, to) of tensor i in the flat vector.
func (l *Layout) Range(i int) (from, to int) { return l.starts[i], l.starts[i+1] }

// At names the tensor that holds element i of the flat vector, and the position in it.
func (l *Layout) At(i int) (name string, position int) {
	low, high := 0, len(l.Specs)
	for low+1 < high {
		if middle := (low + high) / 2; l.starts[middle] <= i {
			low = middle
		} else {
			high = middle
		}
	}
	return l.Specs[low].Name, i - l.starts[low]
}
