package wire

import (
	"sync"

	"capnproto.org/go/capnp/v3"

	"pangea.example/pangea/schemas/tensor"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/vector"
)

// Limits of what goes into one frame.
const (
	chunkBytes  = vector.BlockElements * 4
	chunkPieces = 256
	// Gradients in a frame: 1 MiB is in the cache of a core when it is checked or added, and the other
	// side can begin with it early. It divides a block.
	frameElements = vector.BlockElements / 4
)

// This does not compile where a chunk is larger than the schema allows.
const _ = tensor.MaxChunkBytes - chunkBytes

// Bulk is a message in several frames over memory that is shared. Each frame is encoded once, when
// the first peer comes to it, and serves all peers. It is safe for use by several goroutines.
type Bulk struct {
	bytes  int64
	encode func(i int) (Frame, error)
	frames []bulkFrame
}

type bulkFrame struct {
	once  sync.Once
	frame Frame
	err   error
}

// Frames is how many there are.
func (b *Bulk) Frames() int { return len(b.frames) }

// Bytes of the payloads of all frames.
func (b *Bulk) Bytes() int64 { return b.bytes }

// Frame returns frame i.
func (b *Bulk) Frame(i int) (Frame, error) {
	f := &b.frames[i]
	f.once.Do(func() { f.frame, f.err = b.encode(i) })
	return f.frame, f.err
}

// Piece is a part of a tensor: elements [From, To) of the flat vector.
type Piece struct{ Tensor, From, To int }

// Cut returns the pieces of each frame of a gradient: not across multiples of 1 MiB, and at most
// 256 pieces in a frame.
func Cut(layout *protocol.Layout) [][]Piece {
	var frames [][]Piece
	var pieces []Piece
	flush := func() {
		if len(pieces) > 0 {
			frames, pieces = append(frames, pieces), nil
		}
	}
	for i := range layout.Specs {
		from, to := layout.Range(i)
		for from < to {
			end := min(to, (from/frameElements+1)*frameElements)
			pieces = append(pieces, Piece{i, from, end})
			if from = end; end%frameElements == 0 || len(pieces) == chunkPieces {
				flush()
			}
		}
	}
	flush()
	return frames
}

// payloads views the memory of pieces.
func payloads(v *vector.Vector, pieces []Piece) [][]byte {
	views := make([][]byte, len(pieces))
	for i, piece := range pieces {
		block, start := piece.From/vector.BlockElements, piece.From%vector.BlockElements
		views[i] = vector.Bytes(v.Blocks()[block][start : start+piece.To-piece.From])
	}
	return views
}

// WritePieces sets a list of tensors over the payloads of a frame.
func WritePieces(layout *protocol.Layout, pieces []Piece, list tensor.Tensor_List, payload Payload) error {
	for i, piece := range pieces {
		spec := layout.Specs[piece.Tensor]
		start, _ := layout.Range(piece.Tensor)
		data, err := payload.At(i)
		if err != nil {
			return err
		}
		spec.DType = protocol.Float32
		if err := WriteTensor(list.At(i), spec, uint64(piece.From-start)*4, data); err != nil {
			return err
		}
	}
	return nil
}

// headBytes is roughly what the first segment takes for pieces.
func headBytes(layout *protocol.Layout, pieces []Piece) int {
	bytes := 256
	for _, piece := range pieces {
		spec := layout.Specs[piece.Tensor]
		bytes += 64 + len(spec.Name) + 8*len(spec.Shape)
	}
	return bytes
}

// NewAggregate makes the frames of an aggregate, cut as Cut(layout) says. The caller holds the
// gradients for as long as frames are in use.
func NewAggregate(aggregate *protocol.Aggregate, layout *protocol.Layout, frames [][]Piece) *Bulk {
	return newAggregate(aggregate, layout, frames, func(i int, message tensor.Aggregate) error {
		if i < len(frames)-1 {
			return nil
		}
		return setFinal(message, aggregate)
	})
}

// NewStreamed makes the frames of an aggregate that is still being summed up, without the final
// one: that is EncodeFinal, or else EncodeAbandoned. A frame may be encoded once its gradients are
// there.
func NewStreamed(aggregate *protocol.Aggregate, layout *protocol.Layout, frames [][]Piece) *Bulk {
	return newAggregate(aggregate, layout, frames, func(int, tensor.Aggregate) error { return nil })
}

func newAggregate(aggregate *protocol.Aggregate, layout *protocol.Layout, frames [][]Piece,
	finish func(int, tensor.Aggregate) error) *Bulk {
	bulk := &Bulk{bytes: layout.Bytes(), frames: make([]bulkFrame, len(frames))}
	bulk.encode = func(i int) (Frame, error) {
		pieces := frames[i]
		return NewFrame(headBytes(layout, pieces), payloads(aggregate.Gradients, pieces),
			func(root tensor.Message, payload Payload) error {
				message, err := aggregateMessage(root, aggregate)
				if err != nil {
					return err
				}
				list, err := message.NewGradients(int32(len(pieces)))
				if err != nil {
					return err
				}
				if err := WritePieces(layout, pieces, list, payload); err != nil {
					return err
				}
				return finish(i, message)
			})
	}
	return bulk
}

func aggregateMessage(root tensor.Message, aggregate *protocol.Aggregate) (tensor.Aggregate, error) {
	root.SetType(tensor.MessageType_aggregate)
	message, err := root.NewAggregate()
	if err != nil {
		return message, err
	}
	message.SetStep(aggregate.Step)
	message.SetSamples(aggregate.Samples)
	message.SetLossSum(aggregate.LossSum)
	message.SetDivisor(aggregate.Divisor)
	return message, nil
}

func setFinal(message tensor.Aggregate, aggregate *protocol.Aggregate) error {
	message.SetFinal(true)
	return message.SetHash(aggregate.Hash[:])
}

// EncodeFinal makes the frame that ends a streamed aggregate which is committed.
func EncodeFinal(aggregate *protocol.Aggregate) (Frame, error) {
	return NewFrame(256, nil, func(root tensor.Message, _ Payload) error {
		message, err := aggregateMessage(root, aggregate)
		if err != nil {
			return err
		}
		return setFinal(message, aggregate)
	})
}

// EncodeAbandoned makes the frame that ends a streamed aggregate which will not be committed.
func EncodeAbandoned(aggregate *protocol.Aggregate) (Frame, error) {
	return NewFrame(256, nil, func(root tensor.Message, _ Payload) error {
		message, err := aggregateMessage(root, aggregate)
		if err == nil {
			message.SetAbandoned(true)
		}
		return err
	})
}

// NewSnapshot makes the frames of a snapshot. The caller holds it for as long as frames are in use.
func NewSnapshot(snapshot *protocol.Snapshot) *Bulk {
	blocks := snapshot.Blocks
	bulk := &Bulk{bytes: int64(snapshot.TotalBytes), frames: make([]bulkFrame, len(blocks))}
	bulk.encode = func(i int) (Frame, error) {
		payload := [][]byte{blocks[i]}
		return NewFrame(256, payload, func(root tensor.Message, payload Payload) error {
			root.SetType(tensor.MessageType_snapshot)
			message, err := root.NewSnapshot()
			if err != nil {
				return err
			}
			message.SetStep(snapshot.Step)
			message.SetTotalBytes(snapshot.TotalBytes)
			message.SetByteOffset(uint64(i) * chunkBytes)
			if err := message.SetParametersHash(snapshot.ParametersHash[:]); err != nil {
				return err
			}
			data, err := payload.At(0)
			if err != nil {
				return err
			}
			if err := capnp.Struct(message).SetPtr(snapshotData, data); err != nil {
				return err
			}
			if i < len(blocks)-1 {
				return nil
			}
			message.SetFinal(true)
			return message.SetHash(snapshot.Hash[:])
		})
	}
	return bulk
}
