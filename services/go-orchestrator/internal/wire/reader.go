// Package wire turns frames into the messages of package protocol and back. Frames are those of
// Cap'n Proto streams; nothing that a peer writes into one makes the process take memory before as
// many bytes have arrived.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"capnproto.org/go/capnp/v3"

	"pangea.example/pangea/services/go-orchestrator/internal/budget"
)

// Limits of what is read from a peer.
type Limits struct {
	FrameBytes int64  // of all segments of a frame
	Segments   int    // in a frame
	Depth      uint   // of pointers
	Traversal  uint64 // bytes that reading a frame may visit, in multiples of its own size
}

// DefaultLimits for frames of at most that many bytes.
func DefaultLimits(frameBytes int64) Limits {
	return Limits{FrameBytes: frameBytes, Segments: 511, Depth: 16, Traversal: 4}
}

// leastTraversal is what reading may visit of the smallest frame: getters count the same few words
// at every call.
const leastTraversal = 64 << 10

// traversal of a frame grows with it: many pointers to one long text could otherwise make a small
// frame as large as the limit of the largest, once it is decoded.
func (l Limits) traversal(frameBytes int64) uint64 {
	return max(l.Traversal*uint64(frameBytes), leastTraversal)
}

// FrameError says that bytes are not a frame, or one beyond the limits. Nothing more can be read
// from the stream.
type FrameError struct{ Reason string }

// Error returns the reason.
func (e *FrameError) Error() string { return e.Reason }

// Reader reads frames from a stream. It has one buffer, which grows with what has arrived, and of
// which little is kept after a large frame.
type Reader struct {
	source io.Reader
	limits Limits
	memory *budget.Budget
	buffer []byte
	size   int64  // of the frame that was read last
	place  Placer // nil where everything is read into the buffer
}

// NewReader makes a Reader whose buffer counts against memory. Close releases it.
func NewReader(source io.Reader, limits Limits, memory *budget.Budget) *Reader {
	return &Reader{source: source, limits: limits, memory: memory}
}

// Close returns the buffer to its budget. Messages that were read must no longer be used.
func (r *Reader) Close() {
	r.memory.Give(int64(len(r.buffer)))
	r.buffer = nil
}

// CountAgainst makes the buffer count against another budget from the next frame on. The message
// that was read last must no longer be used.
func (r *Reader) CountAgainst(memory *budget.Budget) {
	r.Close()
	r.memory = memory
}

// Size of the frame that was read last.
func (r *Reader) Size() int64 { return r.size }

// keptBuffer is how much of the buffer stays until the next frame: a peer that sent one large frame
// and then nothing must not hold memory for it.
const keptBuffer = 256 << 10

// shrink returns a large buffer to its budget.
func (r *Reader) shrink() {
	if len(r.buffer) > keptBuffer {
		r.Close()
	}
}

// leastPlaced is the size of the smallest frame whose segments are read in place: looking at it
// twice costs more than copying less.
const leastPlaced = 64 << 10

// Next reads a frame. The message is valid until the next call. The error is io.EOF when the stream
// ends between frames, and io.ErrUnexpectedEOF when it ends inside one.
func (r *Reader) Next() (*capnp.Message, error) {
	r.shrink()
	sizes, err := r.table()
	if err != nil {
		return nil, err
	}
	total := int64(0)
	for _, size := range sizes {
		total += size
	}
	if total > r.limits.FrameBytes {
		return nil, &FrameError{fmt.Sprintf("a frame of %d bytes is larger than the %d that are allowed", total,
			r.limits.FrameBytes)}
	}
	r.size = total
	have := int64(0)
	if r.place != nil && len(sizes) > 1 && total >= leastPlaced {
		have = sizes[0]
		if err := r.fill(0, have); err != nil {
			return nil, err
		}
		if segments, err := r.inPlace(sizes, total); segments != nil || err != nil {
			return r.message(segments, total), err
		}
	}
	if err := r.fill(have, total); err != nil {
		return nil, err
	}
	segments, rest := make([][]byte, len(sizes)), r.buffer
	for i, size := range sizes {
		segments[i], rest = rest[:size:size], rest[size:]
	}
	return r.message(segments, total), nil
}

func (r *Reader) message(segments [][]byte, frameBytes int64) *capnp.Message {
	return &capnp.Message{Arena: capnp.MultiSegment(segments), TraverseLimit: r.limits.traversal(frameBytes),
		DepthLimit: r.limits.Depth}
}

// table reads the sizes of the segments, in bytes.
func (r *Reader) table() ([]int64, error) {
	var count [4]byte
	if _, err := io.ReadFull(r.source, count[:]); err != nil {
		return nil, err // io.EOF only when not a byte has arrived
	}
	segments := int64(binary.LittleEndian.Uint32(count[:])) + 1
	if segments > int64(r.limits.Segments) {
		return nil, &FrameError{fmt.Sprintf("a frame of %d segments has more than the %d that are allowed", segments,
			r.limits.Segments)}
	}
	entries := make([]byte, (segments|1)*4) // padded, so that segments start on a word
	if _, err := io.ReadFull(r.source, entries); err != nil {
		return nil, inside(err)
	}
	sizes := make([]int64, segments)
	for i := range sizes {
		sizes[i] = int64(binary.LittleEndian.Uint32(entries[i*4:])) * 8
	}
	return sizes, nil
}

// fill reads up to that many bytes into the buffer, some of which it has. The buffer at most
// doubles with each part that has arrived.
func (r *Reader) fill(have, total int64) error {
	const start = 64 << 10
	for have < total {
		if have == int64(len(r.buffer)) {
			larger := min(total, max(start, 2*have))
			if err := r.memory.Take(larger - have); err != nil {
				return err
			}
			buffer := make([]byte, larger)
			copy(buffer, r.buffer[:have])
			r.buffer = buffer
		}
		n, err := io.ReadFull(r.source, r.buffer[have:min(total, int64(len(r.buffer)))])
		have += int64(n)
		if err != nil {
			return inside(err)
		}
	}
	return nil
}

// inside marks an end of the stream as one in the middle of a frame.
func inside(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
