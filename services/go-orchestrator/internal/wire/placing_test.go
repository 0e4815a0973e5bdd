package wire_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"slices"
	"testing"

	"pangea.example/pangea/schemas/tensor"
	"pangea.example/pangea/services/go-orchestrator/internal/budget"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/vector"
	"pangea.example/pangea/services/go-orchestrator/internal/wire"
	"pangea.example/pangea/services/go-orchestrator/internal/wiretest"
)

// receive reads the frames of one update as a server does, with its pieces in place. It returns how
// many bytes of buffer the reader took.
func receive(whole []byte, layout *protocol.Layout, pool *vector.Pool) (update *protocol.Update, buffer int64, err error) {
	memory := budget.New("reader", 1<<30)
	reader := wire.NewReader(bytes.NewReader(whole), wire.DefaultLimits(16<<20), memory)
	var assembly *wire.UpdateAssembly
	defer func() {
		if assembly != nil && update == nil {
			assembly.Discard()
		}
	}()
	begin := func(first wire.Message) {
		if assembly == nil {
			assembly = wire.NewUpdateAssembly(first, layout, pool)
		}
	}
	reader.PlaceBy(func(frame wire.Outline) ([][]byte, error) {
		begin(frame.Message)
		return assembly.Place(frame)
	})
	for update == nil {
		frame, err := reader.Next()
		if err != nil {
			return nil, memory.Used(), err
		}
		message, err := wire.Open(frame)
		if err != nil {
			return nil, memory.Used(), err
		}
		begin(message)
		if update, err = assembly.Add(message); err != nil {
			return nil, memory.Used(), err
		}
	}
	return update, memory.Used(), nil
}

func TestPiecesAreReadToWhereTheyBelong(t *testing.T) {
	const block = vector.BlockElements
	float := func(name string, shape ...uint64) protocol.Spec {
		return protocol.Spec{Name: name, DType: protocol.Float32, Shape: shape}
	}
	for _, test := range []struct {
		scenario         string
		specs            []protocol.Spec
		elements, pieces int
		copied           bool // pieces lie across blocks
	}{
		{"pieces with padding", []protocol.Spec{float("a", 70_001), float("empty", 0), float("b", 3), float("c", 200_003)},
			50_001, 3, false},
		{"several blocks", []protocol.Spec{float("a", 2*block+5), float("b", block/2)}, block / 4, 1, false},
		{"pieces across blocks", []protocol.Spec{float("a", 3*block/4), float("b", 2*block)}, block / 2, 2, true},
	} {
		t.Run(test.scenario, func(t *testing.T) {
			layout := layoutOf(t, test.specs...)
			want := testUpdate(layout, 8)
			pool := testPool()
			update, buffer, err := receive(stream(t, 5, want.Frames(layout, test.elements, test.pieces)...), layout, pool)
			if err != nil || update.Refusal != "" {
				t.Fatal(err, update)
			}
			if got := slices.Concat(update.Gradients.Blocks()...); !slices.Equal(got, want.Gradients) {
				t.Fatal("different gradients")
			}
			if !update.Digest.Equal(update.Gradients.Digest()) {
				t.Fatal("the digest is not that of the gradients")
			}
			if small := buffer <= 64<<10; small == test.copied {
				t.Fatalf("the reader has a buffer of %d bytes", buffer)
			}
		})
	}
}

func TestPiecesThatAreReadInPlaceAreChecked(t *testing.T) {
	layout := layoutOf(t, protocol.Spec{Name: "a", DType: protocol.Float32, Shape: []uint64{100_000}},
		protocol.Spec{Name: "b", DType: protocol.Float32, Shape: []uint64{100_000}})
	pool := testPool()
	update := testUpdate(layout, 9)
	update.Gradients[150_000] = float32(math.Inf(-1))
	got, _, err := receive(stream(t, 5, update.Frames(layout, 30_000, 2)...), layout, pool)
	if err != nil || !got.NotFinite || got.Refusal != "the gradient of tensor b has -Inf at element 50000" {
		t.Fatal(got, err)
	}
	// Pieces of another model, in frames of the same shape.
	other := layoutOf(t, protocol.Spec{Name: "a", DType: protocol.Float32, Shape: []uint64{100_000}},
		protocol.Spec{Name: "c", DType: protocol.Float32, Shape: []uint64{100_000}})
	got, _, err = receive(stream(t, 5, testUpdate(other, 9).Frames(other, 30_000, 2)...), layout, pool)
	if err != nil || got.Refusal != `tensor "c" comes where b is expected (its element 0 is next)` {
		t.Fatal(got, err)
	}
	// More than the model has.
	larger := layoutOf(t, protocol.Spec{Name: "a", DType: protocol.Float32, Shape: []uint64{300_000}})
	got, _, err = receive(stream(t, 5, testUpdate(larger, 9).Frames(larger, 30_000, 2)...), layout, pool)
	if err != nil || got.Refusal == "" {
		t.Fatal(got, err)
	}
	// The end of the stream, inside what is read in place.
	whole := stream(t, 5, testUpdate(layout, 9).Frames(layout, 100_000, 2)...)
	if _, _, err := receive(whole[:len(whole)-5], layout, pool); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	// No memory for what is to be read.
	var exhausted *budget.ExhaustedError
	if _, _, err := receive(whole, layout, vector.NewPool(budget.New("test", 1000))); !errors.As(err, &exhausted) {
		t.Fatal(err)
	}
}

// swapped is an update of two tensors in one frame, the second of which is in the first segment.
func swapped(t *testing.T, update wiretest.Update, layout *protocol.Layout) wire.Frame {
	from, to := layout.Range(1)
	payload := [][]byte{vector.Bytes(update.Gradients[from:to]), vector.Bytes(update.Gradients[:from])}
	frame, err := wire.NewFrame(1024, payload, func(root tensor.Message, payload wire.Payload) error {
		root.SetType(tensor.MessageType_gradientUpdate)
		message, err := root.NewGradientUpdate()
		if err != nil {
			return err
		}
		message.SetFinal(true)
		list, err := message.NewGradients(2)
		if err != nil {
			return err
		}
		for i := range list.Len() {
			data, err := payload.At(1 - i)
			if err != nil {
				return err
			}
			if err := wire.WriteTensor(list.At(i), layout.Specs[i], 0, data); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return frame
}

func TestSegmentsInAnotherOrderAreCopied(t *testing.T) {
	layout := layoutOf(t, protocol.Spec{Name: "a", DType: protocol.Float32, Shape: []uint64{20_000}},
		protocol.Spec{Name: "b", DType: protocol.Float32, Shape: []uint64{20_000}})
	want := testUpdate(layout, 3)
	update, buffer, err := receive(stream(t, 5, swapped(t, want, layout)), layout, testPool())
	if err != nil || update.Refusal != "" || !slices.Equal(slices.Concat(update.Gradients.Blocks()...), want.Gradients) {
		t.Fatal(err, update)
	}
	if buffer <= 64<<10 {
		t.Fatal("the segments were read in place")
	}
}
