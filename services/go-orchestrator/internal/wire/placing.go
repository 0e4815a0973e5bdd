package wire

import (
	"io"
	"sync"
	"unsafe"

	"pangea.example/pangea/schemas/tensor"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// Placer says where the tensor bytes of a frame belong, so that they are read there and not copied
// from a buffer: a piece of memory for each segment but the first, in their order, or nil where the
// frame is to be read as a whole. An error ends the stream.
type Placer func(Outline) ([][]byte, error)

// Outline is a frame of which only the first segment has arrived. It tells what the message is, and
// how many tensor bytes each of the other segments holds.
type Outline struct {
	Message
	sizes []int64 // of the segments, in whole words
}

// PlaceBy makes the reader ask where segments belong.
func (r *Reader) PlaceBy(place Placer) { r.place = place }

// vacant stands for segments that have not arrived. It is never written to and hardly read, so that
// it takes no memory; segment i begins at its word i, which tells one segment from another.
var vacant = sync.OnceValue(func() []byte { return make([]byte, vacantBytes) })

const vacantBytes = int64(tensor.MaxFrameBytes)

// inPlace reads the segments after the first to where they belong; nil where they are to be read
// into the buffer.
func (r *Reader) inPlace(sizes []int64, total int64) ([][]byte, error) {
	segments := make([][]byte, len(sizes))
	segments[0] = r.buffer[:sizes[0]:sizes[0]]
	for i, size := range sizes[1:] {
		from := int64(i+1) * 8
		if from+size > vacantBytes {
			return nil, nil
		}
		segments[i+1] = vacant()[from : from+size : from+size]
	}
	message, err := Open(r.message(segments, total))
	if err != nil {
		return nil, nil // The whole frame is needed to say what is wrong with it.
	}
	places, err := r.place(Outline{message, sizes})
	if places == nil || err != nil {
		return nil, err
	}
	for i, place := range places {
		if _, err := io.ReadFull(r.source, place); err != nil {
			return nil, inside(err)
		}
		var padding [8]byte
		if _, err := io.ReadFull(r.source, padding[:sizes[i+1]-int64(len(place))]); err != nil {
			return nil, inside(err)
		}
		segments[i+1] = place
	}
	return segments, nil
}

// lengths returns how many bytes of each segment but the first are those of the pieces of a
// gradient update, which must be in the order of the segments and fill them up to padding; nil
// where something is different from that.
func (o Outline) lengths() (lengths []int64) {
	defer func() {
		if recover() != nil {
			lengths = nil
		}
	}()
	update, err := o.root.GradientUpdate()
	if err != nil {
		return nil
	}
	pieces, err := update.Gradients()
	if err != nil {
		return nil
	}
	for i := range pieces.Len() {
		data, err := pieces.At(i).Data()
		segment := len(lengths) + 1
		switch {
		case err != nil:
			return nil
		case len(data) == 0:
			continue
		case segment >= len(o.sizes) || unsafe.SliceData(data) != &vacant()[segment*8] ||
			(int64(len(data))+7)&^7 != o.sizes[segment]:
			return nil
		}
		lengths = append(lengths, int64(len(data)))
	}
	if len(lengths) != len(o.sizes)-1 {
		return nil
	}
	return lengths
}

// Place says where the pieces of a frame belong, which must then be given to Add; nil where they
// are to be copied.
func (a *UpdateAssembly) Place(frame Outline) ([][]byte, error) {
	if frame.Kind != protocol.KindGradientUpdate || frame.RequestID != a.RequestID || a.update.Refusal != "" {
		return nil, nil
	}
	return a.builder.Place(frame.lengths())
}
