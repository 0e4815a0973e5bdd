package wire_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"capnproto.org/go/capnp/v3"

	"pangea.example/pangea/services/go-orchestrator/internal/budget"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/vector"
	"pangea.example/pangea/services/go-orchestrator/internal/wire"
	"pangea.example/pangea/services/go-orchestrator/internal/wiretest"
)

// fuzzedBytes is the most that a fuzzed stream may make the process hold.
const fuzzedBytes = 1 << 20

// fuzzLayout is of a model that fits the frames of the corpus.
func fuzzLayout() *protocol.Layout {
	layout, err := protocol.NewLayout([]protocol.Spec{{Name: "weight", DType: protocol.Float32, Shape: []uint64{3, 2}},
		{Name: "bias", DType: protocol.Float32, Shape: []uint64{2}}}, 1<<20)
	if err != nil {
		panic(err)
	}
	return layout
}

// streams has one for each message that a worker sends.
func streams(f *testing.F) (whole [][]byte) {
	f.Helper()
	layout := fuzzLayout()
	update := wiretest.Update{Step: 4, FirstShard: 2, Gradients: []float32{1, 2, 3, 4, 5, 6, 7, 8},
		Reports: []protocol.Report{{Shard: 2, Samples: 8, LossSum: 0.5, Weight: 8, Stop: "enough"}}}
	join := testJoin(layout)
	for _, frames := range [][]wire.Frame{
		{wiretest.Join(join)}, {wiretest.Work(protocol.Work{Step: 7, Stop: "patience"})},
		{wiretest.Leave(protocol.Leave{Reason: "done", Broken: "it is not deterministic"})},
		update.Frames(layout, 3, 1), update.Frames(layout, 8, 2),
		wiretest.Snapshot(7, protocol.Hash{1}, []byte("the state of a worker"), 8),
		{update.Placed(protocol.Place{Region: 1, Generation: 1, Bytes: 32})},
	} {
		var stream []byte
		for _, frame := range frames {
			buffers, err := frame.Buffers(9)
			if err != nil {
				f.Fatal(err)
			}
			stream = append(stream, bytes.Join(buffers, nil)...)
		}
		whole = append(whole, stream)
	}
	return whole
}

func addStreams(f *testing.F) {
	f.Helper()
	for _, stream := range streams(f) {
		f.Add(stream)
	}
}

// visit asks for everything that a message may have: any of it may be the wrong kind.
func visit(frame *capnp.Message) {
	message, err := wire.Open(frame)
	if err != nil {
		return
	}
	join, err := message.Join()
	if err == nil {
		_, _ = protocol.NewLayout(join.Parameters, 1<<20)
	}
	_, _ = message.Work()
	_, _ = message.Leave()
	_, _ = message.SharedRegion()
	_, _, _ = message.PlacedUpdate()
}

// Whatever arrives, it is read within the budget or refused, and nothing is held afterwards.
func FuzzReader(f *testing.F) {
	addStreams(f)
	f.Fuzz(func(t *testing.T, stream []byte) {
		memory := budget.New("fuzz", fuzzedBytes)
		r := wire.NewReader(bytes.NewReader(stream), wire.DefaultLimits(fuzzedBytes/2), memory)
		for {
			frame, err := r.Next()
			if err != nil {
				break
			}
			visit(frame)
		}
		r.Close()
		if used := memory.Used(); used != 0 {
			t.Fatalf("%d bytes are still taken", used)
		}
	})
}

// A frame whose head is right and whose content is anything is read or refused: nothing is lost to
// a length that does not fit.
func FuzzMessage(f *testing.F) {
	for _, stream := range streams(f) {
		if binary.LittleEndian.Uint32(stream) == 1 { // two segments
			f.Add(uint16(binary.LittleEndian.Uint32(stream[4:])), stream[16:])
		}
		f.Add(uint16(len(stream)/8), stream[8:])
	}
	f.Fuzz(func(t *testing.T, first uint16, content []byte) {
		memory := budget.New("fuzz", fuzzedBytes)
		r := wire.NewReader(bytes.NewReader(framed(first, content)), wire.DefaultLimits(fuzzedBytes/2), memory)
		if frame, err := r.Next(); err == nil {
			visit(frame)
		}
		r.Close()
		if used := memory.Used(); used != 0 {
			t.Fatalf("%d bytes are still taken", used)
		}
	})
}

// framed makes a frame of at most two segments; the first one has this many words, if there are
// that many.
func framed(first uint16, content []byte) []byte {
	words := (len(content) + 7) / 8
	segments := []int{min(int(first), words)}
	if rest := words - segments[0]; rest > 0 {
		segments = append(segments, rest)
	}
	frame := binary.LittleEndian.AppendUint32(nil, uint32(len(segments)-1))
	for _, words := range segments {
		frame = binary.LittleEndian.AppendUint32(frame, uint32(words))
	}
	frame = append(frame, make([]byte, len(frame)%8)...)
	return append(append(frame, content...), make([]byte, words*8-len(content))...)
}

// Updates and states are put together from any frames, in place or not, to the same result.
func FuzzUpdate(f *testing.F) {
	addStreams(f)
	f.Fuzz(func(t *testing.T, stream []byte) {
		copied, placed := assemble(t, stream, false), assemble(t, stream, true)
		if len(copied) != len(placed) {
			t.Fatalf("%d updates from the buffer and %d in place", len(copied), len(placed))
		}
		for i := range copied {
			if copied[i] != placed[i] {
				t.Fatalf("update %d has different bits in place", i)
			}
		}
	})
}

// assemble reads all updates and states of a stream, and gives the digests of the complete updates.
func assemble(t *testing.T, stream []byte, inPlace bool) (digests []vector.Digest) {
	t.Helper()
	layout, memory := fuzzLayout(), budget.New("fuzz", fuzzedBytes)
	pool := vector.NewPool(memory)
	r := wire.NewReader(bytes.NewReader(stream), wire.DefaultLimits(fuzzedBytes/2), memory)
	var update *wire.UpdateAssembly
	var snapshot *wire.SnapshotAssembly
	if inPlace {
		r.PlaceBy(func(frame wire.Outline) ([][]byte, error) {
			if frame.Kind != protocol.KindGradientUpdate || frame.Placed() {
				return nil, nil
			}
			if update == nil {
				update = wire.NewUpdateAssembly(frame.Message, layout, pool)
			}
			return update.Place(frame)
		})
	}
	for {
		frame, err := r.Next()
		if err != nil {
			break
		}
		message, err := wire.Open(frame)
		if err != nil || message.Placed() {
			continue
		}
		switch message.Kind {
		case protocol.KindGradientUpdate:
			if update == nil {
				update = wire.NewUpdateAssembly(message, layout, pool)
			}
			whole, err := update.Add(message)
			if err != nil {
				update.Discard()
			}
			if whole != nil || err != nil {
				update = nil
			}
			if whole != nil && whole.Gradients != nil {
				digests = append(digests, whole.Digest)
				whole.Gradients.Release()
			}
		case protocol.KindSnapshot:
			if snapshot == nil {
				if snapshot, err = wire.NewSnapshotAssembly(message, memory); err != nil {
					snapshot = nil
					continue
				}
			}
			whole, err := snapshot.Add(message)
			if err != nil {
				snapshot.Discard()
			}
			if whole != nil || err != nil {
				snapshot = nil
			}
			if whole != nil {
				whole.Release()
			}
		}
	}
	if update != nil {
		update.Discard()
	}
	if snapshot != nil {
		snapshot.Discard()
	}
	r.Close()
	pool.Trim()
	if used := memory.Used(); used != 0 {
		t.Fatalf("%d bytes are still taken", used)
	}
	return digests
}
