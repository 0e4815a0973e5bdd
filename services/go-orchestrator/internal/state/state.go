// Package state looks into a worker's state, which is otherwise opaque: whether the parameters in
// it are those that their hash says. docs/decisions/0007 has the form, that of safetensors.
package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"

	"pangea.example/pangea/services/go-orchestrator/internal/contenthash"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// maxHeader bounds the description of the tensors, which also has the state of the optimizer that
// is not in tensors. It is the limit of the library that workers read it with.
const maxHeader = 100 << 20

// usedSpec is the name of the first part of a layout that is not a parameter: what follows are
// changes of buffers.
const usedSpec = "pangea.used"

// entry describes a tensor.
type entry struct {
	Offsets [2]uint64 `json:"data_offsets"`
}

// Check says why the tensors in a snapshot are not those whose hash it names; nil if they are, or
// if the snapshot does not say which tensors the hash covers: those of older releases do not, and
// models with buffers that are not saved cannot. Nothing is said about the rest of the state, such
// as that of the optimizer.
func Check(s *protocol.Snapshot, layout *protocol.Layout, method contenthash.Method) error {
	content := &blocks{s.Blocks, s.TotalBytes}
	entries, start, err := header(content)
	if err != nil {
		return err
	}
	names, err := hashed(entries)
	if err != nil || names == nil {
		return err
	}
	if err := beginsWith(names, layout); err != nil {
		return err
	}
	hash, left := newHasher(method), s.TotalBytes-start
	for _, name := range names {
		found, err := locate(entries, name, s.TotalBytes-start)
		if err != nil {
			return err
		}
		// A donor could otherwise have a large tensor hashed as often as it likes.
		size := found.Offsets[1] - found.Offsets[0]
		if size > left {
			return fmt.Errorf("the hash in the state covers more than its %d bytes of tensors", s.TotalBytes-start)
		}
		left -= size
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

// hashed returns the names of the tensors that the hash covers, in its order; nil if the state does
// not say.
func hashed(entries map[string]json.RawMessage) ([]string, error) {
	var metadata struct{ Pangea string }
	if text, is := entries["__metadata__"]; is {
		if err := json.Unmarshal(text, &metadata); err != nil {
			return nil, fmt.Errorf("the state's metadata cannot be read: %w", err)
		}
	}
	if metadata.Pangea == "" {
		return nil, errors.New("the state has no metadata of Pangea")
	}
	var about struct{ Hashed []string }
	if err := json.Unmarshal([]byte(metadata.Pangea), &about); err != nil {
		return nil, fmt.Errorf("the state's metadata cannot be read: %w", err)
	}
	return about.Hashed, nil
}

// beginsWith refuses a hash that does not cover all parameters of the run first, in their order.
func beginsWith(names []string, layout *protocol.Layout) error {
	for i, spec := range layout.Specs {
		if spec.Name == usedSpec {
			return nil
		}
		if i >= len(names) || names[i] != spec.Name {
			return fmt.Errorf("parameter %d of the run, %.100q, is not where the state's hash has it", i, spec.Name)
		}
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

// locate finds a tensor of the model, among tensors that have `size` bytes in all.
func locate(entries map[string]json.RawMessage, name string, size uint64) (found entry, err error) {
	text, is := entries["model."+name]
	if !is {
		return found, fmt.Errorf("the state has no tensor %.100q", name)
	}
	if err := json.Unmarshal(text, &found); err != nil {
		return found, fmt.Errorf("the state describes tensor %.100q wrongly: %w", name, err)
	}
	if from, to := found.Offsets[0], found.Offsets[1]; from > to || to > size {
		return found, fmt.Errorf("tensor %.100q of the state lies at bytes %d to %d of %d", name, from, to, size)
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
