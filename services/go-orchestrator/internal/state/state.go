// Package state looks into a worker's state, which is otherwise opaque: whether the parameters in
// it are those that their hash says. docs/decisions/0007 has the form, that of safetensors.
package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"slices"

	"pangea.example/pangea/services/go-orchestrator/internal/contenthash"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// maxHeader bounds the description of the tensors, which also has the state of the optimizer that
// is not in tensors. It is the limit of the library that workers read it with.
const maxHeader = 100 << 20

// What a state calls the types of parameters.
var dtypes = map[protocol.DType]string{
	protocol.Float64: "F64", protocol.Float32: "F32", protocol.Float16: "F16", protocol.BFloat16: "BF16",
}

// entry describes a tensor.
type entry struct {
	DType   string    `json:"dtype"`
	Shape   []uint64  `json:"shape"`
	Offsets [2]uint64 `json:"data_offsets"`
}

// Check says why the parameters in a snapshot are not those whose hash it names; nil if they are.
// Nothing is said about the rest of the state, such as that of the optimizer.
func Check(s *protocol.Snapshot, layout *protocol.Layout, method contenthash.Method) error {
	content := &blocks{s.Blocks, s.TotalBytes}
	entries, start, err := header(content)
	if err != nil {
		return err
	}
	hash := newHasher(method)
	for _, spec := range layout.Specs {
		found, err := locate(entries, spec, s.TotalBytes-start)
		if err != nil {
			return err
		}
		if err := hash.add(content.section(start+found.Offsets[0], start+found.Offsets[1])); err != nil {
			return err
		}
	}
	if got := hash.sum(); got != s.ParametersHash {
		return fmt.Errorf("the parameters in the state have hash %s, but its sender says %s", got.Short(),
			s.ParametersHash.Short())
	}
	return nil
}

// header reads what is in a state, and at which byte the tensors begin.
func header(content *blocks) (entries map[string]json.RawMessage, start uint64, err error) {
	var size [8]byte
	if _, err := io.ReadFull(content.section(0, 8), size[:]); err != nil {
		return nil, 0, fmt.Errorf("the state is too short: it has %d bytes", content.total)
	}
	length := binary.LittleEndian.Uint64(size[:])
	if length > maxHeader || length > content.total-8 {
		return nil, 0, fmt.Errorf("the state's header is said to have %d bytes", length)
	}
	text := make([]byte, length)
	if _, err := io.ReadFull(content.section(8, 8+length), text); err != nil {
		return nil, 0, fmt.Errorf("read the state's header: %w", err)
	}
	if err := json.Unmarshal(text, &entries); err != nil {
		return nil, 0, fmt.Errorf("the state's header is not that of a safetensors file: %w", err)
	}
	return entries, 8 + length, nil
}

// locate finds a parameter among the tensors, which have `size` bytes in all.
func locate(entries map[string]json.RawMessage, spec protocol.Spec, size uint64) (found entry, err error) {
	text, is := entries["model."+spec.Name]
	if !is {
		return found, fmt.Errorf("the state has no parameter %.100q", spec.Name)
	}
	if err := json.Unmarshal(text, &found); err != nil {
		return found, fmt.Errorf("the state describes parameter %.100q wrongly: %w", spec.Name, err)
	}
	if found.DType != dtypes[spec.DType] || !slices.Equal(found.Shape, spec.Shape) {
		return found, fmt.Errorf("parameter %.100q of the state is %.10s %v; the run has %s", spec.Name, found.DType,
			found.Shape, spec)
	}
	elements, err := spec.Elements()
	if err != nil {
		return found, err
	}
	if from, to := found.Offsets[0], found.Offsets[1]; from > to || to > size || to-from != elements*spec.DType.Size() {
		return found, fmt.Errorf("parameter %.100q of the state lies at bytes %d to %d of %d", spec.Name, from, to, size)
	}
	return found, nil
}

// blocks are bytes in several pieces.
type blocks struct {
	pieces [][]byte
	total  uint64
}

// section reads the bytes [from, to).
func (b *blocks) section(from, to uint64) io.Reader {
	var readers []io.Reader
	at := uint64(0)
	for _, piece := range b.pieces {
		size := uint64(len(piece))
		low, high := max(from, at), min(to, at+size)
		if low < high {
			readers = append(readers, bytes.NewReader(piece[low-at:high-at]))
		}
		at += size
	}
	return io.MultiReader(readers...)
}

// hasher computes a content hash from tensors in their order.
type hasher interface {
	add(data io.Reader) error
	sum() protocol.Hash
}

func newHasher(method contenthash.Method) hasher {
	if method == contenthash.SHA256 {
		return &plain{sha256.New()}
	}
	return &tree{block: make([]byte, contenthash.BlockBytes)}
}

type plain struct {
	sha hash.Hash
}

func (p *plain) add(data io.Reader) error {
	_, err := io.Copy(p.sha, data)
	return err
}

func (p *plain) sum() protocol.Hash { return protocol.Hash(p.sha.Sum(nil)) }

type tree struct {
	block   []byte
	tensors []contenthash.Tensor
}

func (t *tree) add(data io.Reader) error {
	tensor := contenthash.Tensor{}
	for {
		read, err := io.ReadFull(data, t.block)
		if read > 0 {
			tensor.Bytes += uint64(read)
			tensor.Leaves = append(tensor.Leaves, contenthash.LeafOf(t.block[:read]))
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			t.tensors = append(t.tensors, tensor)
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (t *tree) sum() protocol.Hash { return contenthash.Root(t.tensors...) }
