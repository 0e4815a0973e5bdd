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

func layout(t testing.TB) *protocol.Layout {
	t.Helper()
	made, err := protocol.NewLayout([]protocol.Spec{
		{Name: "w", DType: protocol.Float32, Shape: []uint64{2, 1}},
		{Name: "b", DType: protocol.Float32, Shape: []uint64{3}},
		{Name: "pangea.used", DType: protocol.Float32, Shape: []uint64{2}},
		{Name: "mean", DType: protocol.Float32, Shape: []uint64{1}},
	}, 100)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// tensors of the state: the second parameter lies before the first one, behind the optimizer's.
const (
	moments = "moments.."
	w, b, m = "01234567", "abcdef", "+"
)

func about(names ...string) map[string]string {
	text, err := json.Marshal(map[string]any{"hashed": names, "step": 3})
	if err != nil {
		panic(err)
	}
	return map[string]string{"pangea": string(text)}
}

func at(from, to int) map[string]any {
	return map[string]any{"dtype": "U8", "shape": []int{to - from}, "data_offsets": []int{from, to}}
}

func valid() map[string]any {
	return map[string]any{
		"__metadata__":      about("w", "b", "mean"),
		"optimizer.state.0": at(0, 9), "model.b": at(9, 15), "model.w": at(15, 23), "model.mean": at(23, 24),
	}
}

// snapshot is the state with this header, cut into pieces of a size.
func snapshot(t testing.TB, header any, hash protocol.Hash, piece int) *protocol.Snapshot {
	t.Helper()
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	content := binary.LittleEndian.AppendUint64(nil, uint64(len(text)))
	content = append(append(content, text...), moments+b+w+m...)
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
		hash := protocol.Hash(method.Of([]byte(w), []byte(b), []byte(m)))
		for _, piece := range []int{1, 7, 1 << 20} {
			if err := Check(snapshot(t, valid(), hash, piece), layout(t), method); err != nil {
				t.Errorf("%s, pieces of %d bytes: %v", method, piece, err)
			}
		}
	}
}

func TestAStateThatDoesNotSayWhatItsHashCoversIsNotJudged(t *testing.T) {
	header := valid()
	header["__metadata__"] = map[string]string{"pangea": `{"step":3}`}
	if err := Check(snapshot(t, header, protocol.Hash{1}, 16), layout(t), contenthash.XXH3Tree); err != nil {
		t.Error(err)
	}
}

func TestAStateThatIsNotWhatItsSenderSaysIsRefused(t *testing.T) {
	method := contenthash.XXH3Tree
	right := protocol.Hash(method.Of([]byte(w), []byte(b), []byte(m)))
	without := func(name string) map[string]any {
		header := valid()
		delete(header, name)
		return header
	}
	change := func(name string, entry any) map[string]any {
		header := valid()
		header[name] = entry
		return header
	}
	for says, header := range map[string]any{
		"have hash":                     change("model.b", at(8, 14)),
		"has no tensor \"mean\"":        without("model.mean"),
		"bytes 16 to 25":                change("model.w", at(16, 25)),
		"bytes 23 to 15":                change("model.w", at(23, 15)),
		"wrongly":                       change("model.w", map[string]any{"data_offsets": []int{-1, 7}}),
		"not that of":                   []int{1},
		"no metadata":                   without("__metadata__"),
		"metadata cannot be read":       change("__metadata__", map[string]string{"pangea": "{"}),
		"parameter 0 of the run, \"w\"": change("__metadata__", about("b", "w", "mean")),
		"covers more than its 24 bytes": change("__metadata__", about("w", "b", "mean", "w", "w")),
		"parameter 1 of the run, \"b\"": change("__metadata__", about("w")),
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
