package state

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pangea.example/pangea/services/go-orchestrator/internal/contenthash"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

func layout(t *testing.T) *protocol.Layout {
	t.Helper()
	made, err := protocol.NewLayout([]protocol.Spec{
		{Name: "w", DType: protocol.Float32, Shape: []uint64{2, 1}},
		{Name: "b", DType: protocol.Float16, Shape: []uint64{3}},
	}, 100)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// tensors of the state: the second parameter lies before the first one, behind the optimizer's.
const (
	moments = "moments.."
	w, b    = "01234567", "abcdef"
)

func valid() map[string]any {
	return map[string]any{
		"__metadata__":      map[string]string{"pangea": "{}"},
		"optimizer.state.0": map[string]any{"dtype": "U8", "shape": []int{9}, "data_offsets": []int{0, 9}},
		"model.b":           map[string]any{"dtype": "F16", "shape": []int{3}, "data_offsets": []int{9, 15}},
		"model.w":           map[string]any{"dtype": "F32", "shape": []int{2, 1}, "data_offsets": []int{15, 23}},
	}
}

// snapshot is the state with this header, cut into pieces of a size.
func snapshot(t *testing.T, header any, hash protocol.Hash, piece int) *protocol.Snapshot {
	t.Helper()
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	content := binary.LittleEndian.AppendUint64(nil, uint64(len(text)))
	content = append(append(content, text...), moments+b+w...)
	return cut(content, hash, piece)
}

func cut(content []byte, hash protocol.Hash, piece int) *protocol.Snapshot {
	var pieces [][]byte
	for rest := content; len(rest) > 0; {
		size := min(piece, len(rest))
		pieces = append(pieces, rest[:size])
		rest = rest[size:]
	}
	return protocol.NewSnapshot(1, hash, pieces, uint64(len(content)), protocol.Hash{}, func() {})
}

func TestTheParametersOfAStateAreFound(t *testing.T) {
	for _, method := range []contenthash.Method{contenthash.SHA256, contenthash.XXH3Tree} {
		hash := protocol.Hash(method.Of([]byte(w), []byte(b)))
		for _, piece := range []int{1, 7, 1 << 20} {
			if err := Check(snapshot(t, valid(), hash, piece), layout(t), method); err != nil {
				t.Errorf("%s, pieces of %d bytes: %v", method, piece, err)
			}
		}
	}
}

func TestAStateThatIsNotWhatItsSenderSaysIsRefused(t *testing.T) {
	method := contenthash.XXH3Tree
	right := protocol.Hash(method.Of([]byte(w), []byte(b)))
	change := func(name string, entry any) map[string]any {
		header := valid()
		header[name] = entry
		return header
	}
	missing := valid()
	delete(missing, "model.b")
	at := func(offsets ...any) map[string]any {
		return change("model.w", map[string]any{"dtype": "F32", "shape": []int{2, 1}, "data_offsets": offsets})
	}
	for says, header := range map[string]any{
		"have hash":              change("model.b", map[string]any{"dtype": "F16", "shape": []int{3}, "data_offsets": []int{8, 14}}),
		"has no parameter \"b\"": missing,
		"is F64 [2 1]":           change("model.w", map[string]any{"dtype": "F64", "shape": []int{2, 1}, "data_offsets": []int{15, 23}}),
		"is F32 [1 2]":           change("model.w", map[string]any{"dtype": "F32", "shape": []int{1, 2}, "data_offsets": []int{15, 23}}),
		"bytes 16 to 24":         at(16, 24),
		"bytes 15 to 22":         at(15, 22),
		"bytes 23 to 15":         at(23, 15),
		"wrongly":                at(-1, 7),
		"not that of":            []int{1},
	} {
		err := Check(snapshot(t, header, right, 16), layout(t), method)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q is expected: %v", says, err)
		}
	}
	for _, content := range []string{"", "short", "\xff\xff\xff\xff\xff\xff\xff\xff", fmt.Sprint("\x05\x00\x00\x00\x00\x00\x00\x00", "{}")} {
		if err := Check(cut([]byte(content), right, 3), layout(t), method); err == nil {
			t.Errorf("%q is taken for a state", content)
		}
	}
}
