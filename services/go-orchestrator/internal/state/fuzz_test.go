package state

import (
	"testing"

	"pangea.example/pangea/services/go-orchestrator/internal/contenthash"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// What is found in a state depends on its bytes, and not on the pieces that it arrives in.
func FuzzCheck(f *testing.F) {
	whole := func(header any) []byte {
		return snapshot(f, header, protocol.Hash{}, 1<<20).Blocks[0]
	}
	f.Add(whole(valid()), uint8(7))
	f.Add(whole(map[string]any{"__metadata__": about()}), uint8(1))
	f.Add(whole(map[string]any{"__metadata__": about("w", "b", "mean"), "model.w": at(9, 2)}), uint8(0))
	f.Fuzz(func(t *testing.T, content []byte, piece uint8) {
		for _, method := range []contenthash.Method{contenthash.SHA256, contenthash.XXH3Tree} {
			whole := Check(cut(content, protocol.Hash{1}, 1<<20), layout(t), method)
			cut := Check(cut(content, protocol.Hash{1}, 1+int(piece)), layout(t), method)
			if said(whole) != said(cut) {
				t.Fatalf("%v in one piece, and %v in pieces of %d bytes", whole, cut, 1+int(piece))
			}
		}
	})
}

func said(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
