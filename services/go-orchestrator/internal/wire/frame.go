package wire

import (
	"encoding/binary"
	"fmt"
	"net"

	"capnproto.org/go/capnp/v3"

	"pangea.example/pangea/schemas/tensor"
)

// Frame is an encoded message whose bulk bytes stay where they are: its first segment, and a
// segment for each payload.
type Frame struct {
	first   []byte
	payload [][]byte
}

// Payload gives pointers to a frame's payloads, to be set as a Data field of the message.
type Payload struct{ pointers capnp.PointerList }

// At gives the pointer to a payload.
func (p Payload) At(i int) (capnp.Ptr, error) { return p.pointers.At(i) }

// NewFrame encodes a message. fill sets all but the payloads in the usual way and places those with
// Payload.At. hint is roughly how many bytes the message takes without them.
//
// The Go library copies whatever is set as Data. What it does not copy is a pointer to an object
// that lies in another segment of the same message: to that it makes a double-far pointer, just as
// the schema wants tensors to be sent. So the first segment starts with a list of hand-made
// pointers to the payloads; they are read, set again in the message, and the list is left unused
// (24 bytes a payload). An empty payload is a null pointer and no segment: the C++ readers refuse a
// far pointer into an empty one.
func NewFrame(hint int, payload [][]byte, fill func(tensor.Message, Payload) error) (Frame, error) {
	for size := max(hint, 64); ; size *= 2 {
		frame, err := newFrame(size, payload, fill)
		if err == nil || size > maxFirstSegment {
			return frame, err
		}
		// Most likely the segment was too small: an arena over given memory does not grow.
	}
}

const maxFirstSegment = 16 << 20

func newFrame(size int, payload [][]byte, fill func(tensor.Message, Payload) error) (Frame, error) {
	start, payload := payloadList(payload)
	first := make([]byte, len(start), (len(start)+size+7)&^7)
	copy(first, start)
	segments := make([][]byte, 1, 1+len(payload))
	segments[0] = first
	for _, bytes := range payload {
		segments = append(segments, bytes[:len(bytes):len(bytes)])
	}
	message := &capnp.Message{Arena: capnp.MultiSegment(segments), TraverseLimit: 1 << 62}
	list, err := message.Root()
	if err != nil {
		return Frame{}, fmt.Errorf("read the list of payloads: %w", err)
	}
	segment, err := message.Segment(0)
	if err != nil {
		return Frame{}, err
	}
	root, err := tensor.NewRootMessage(segment)
	if err == nil {
		err = fill(root, Payload{capnp.PointerList(list.List())})
	}
	if err != nil {
		return Frame{}, fmt.Errorf("encode a message: %w", err)
	}
	return Frame{segment.Data(), payload}, nil
}

// payloadList is a first segment whose root is a list of pointers, one to the whole of each
// following segment; and those segments.
func payloadList(payload [][]byte) (first []byte, segments [][]byte) {
	const pointerList, byteList, list, far, doubleFar = 6, 2, 1, 2, 6
	n := uint64(len(payload))
	words := make([]uint64, 1+3*n)
	words[0] = list | pointerList<<32 | n<<35
	for i, bytes := range payload {
		if len(bytes) == 0 {
			continue
		}
		segments = append(segments, bytes)
		pad := 1 + n + 2*uint64(i)
		words[1+i] = doubleFar | pad<<3
		words[pad] = far | uint64(len(segments))<<32
		words[pad+1] = list | byteList<<32 | uint64(len(bytes))<<35
	}
	first = make([]byte, 0, len(words)*8)
	for _, word := range words {
		first = binary.LittleEndian.AppendUint64(first, word)
	}
	return first, segments
}

// Size of the frame in bytes, as it travels.
func (f Frame) Size() int64 {
	size := int64(tableBytes(len(f.payload)+1)) + int64(len(f.first))
	for _, bytes := range f.payload {
		size += int64(len(bytes)+7) &^ 7
	}
	return size
}

// tableBytes is the size of the table before the segments.
func tableBytes(segments int) int { return (segments/2 + 1) * 8 }

var padding [8]byte

// Buffers gives the frame for one writev, as the message of that request. The payloads are not
// copied; the first segment is, so that one encoded frame serves many peers.
func (f Frame) Buffers(request uint64) (net.Buffers, error) {
	segments := len(f.payload) + 1
	head := make([]byte, 0, tableBytes(segments)+len(f.first))
	head = binary.LittleEndian.AppendUint32(head, uint32(segments-1))
	head = binary.LittleEndian.AppendUint32(head, uint32(len(f.first)/8))
	for _, bytes := range f.payload {
		head = binary.LittleEndian.AppendUint32(head, uint32((len(bytes)+7)/8))
	}
	if segments%2 == 0 {
		head = append(head, 0, 0, 0, 0)
	}
	first := len(head)
	head = append(head, f.first...)
	root, err := tensor.ReadRootMessage(&capnp.Message{Arena: capnp.MultiSegment([][]byte{head[first:]})})
	if err != nil {
		return nil, fmt.Errorf("set the request id: %w", err)
	}
	root.SetRequestId(request)
	buffers := make(net.Buffers, 1, 1+2*len(f.payload))
	buffers[0] = head
	for _, bytes := range f.payload {
		buffers = append(buffers, bytes)
		if rest := len(bytes) % 8; rest != 0 {
			buffers = append(buffers, padding[rest:])
		}
	}
	return buffers, nil
}
