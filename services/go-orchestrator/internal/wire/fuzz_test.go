package wire_test

import (
	"bytes"
	"testing"

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

// addFrames adds a stream for each message that a worker sends.
func addFrames(f *testing.F) {
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
		var whole []byte
		for _, frame := range frames {
			buffers, err := frame.Buffers(9)
			if err != nil {
				f.Fatal(err)
			}
			whole = append(whole, bytes.Join(buffers, nil)...)
		}
		f.Add(whole)
	}
}

// Whatever arrives, it is read within the budget or refused, and nothing is held afterwards.
func FuzzReader(f *testing.F) {
	addFrames(f)
	f.Fuzz(func(t *testing.T, stream []byte) {
		memory := budget.New("fuzz", fuzzedBytes)
		r := wire.NewReader(bytes.NewReader(stream), wire.DefaultLimits(fuzzedBytes/2), memory)
		for {
			frame, err := r.Next()
			if err != nil {
				break
			}
			message, err := wire.Open(frame)
			if err != nil {
				continue
			}
			// Any message may be asked for anything: the wrong kind is an error as well.
			join, err := message.Join()
			if err == nil {
				_, _ = protocol.NewLayout(join.Parameters, 1<<20)
			}
			_, _ = message.Work()
			_, _ = message.Leave()
			_, _ = message.SharedRegion()
			_, _, _ = message.PlacedUpdate()
		}
		r.Close()
		if used := memory.Used(); used != 0 {
			t.Fatalf("%d bytes are still taken", used)
		}
	})
}

// Updates and states are put together from any frames, in place or not, to the same result.
func FuzzUpdate(f *testing.F) {
	addFrames(f)
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
