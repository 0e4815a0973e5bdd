package wiretest

import (
	"fmt"

	"capnproto.org/go/capnp/v3"

	"pangea.example/pangea/schemas/tensor"
	"pangea.example/pangea/services/go-orchestrator/internal/contenthash"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/shared"
	"pangea.example/pangea/services/go-orchestrator/internal/vector"
	"pangea.example/pangea/services/go-orchestrator/internal/wire"
)

// Local is a worker's side of a Unix connection: its slots, and the memory of the orchestrator.
type Local struct {
	connection *shared.Connection
	next       func() (*capnp.Message, error)
	slots      map[uint32]*slot
	regions    map[uint32]*shared.Region
}

type slot struct {
	region     *shared.Region
	generation uint64
	free       bool
}

// NewLocal makes one over a connection whose frames next reads.
func NewLocal(connection *shared.Connection, next func() (*capnp.Message, error)) *Local {
	return &Local{connection: connection, next: next, slots: map[uint32]*slot{}, regions: map[uint32]*shared.Region{}}
}

// Announce makes a slot of that many bytes. It is free once the orchestrator has said so.
func (l *Local) Announce(id uint32, bytes int64) error {
	region, err := shared.Create(bytes, nil)
	if err != nil {
		return err
	}
	l.slots[id] = &slot{region: region}
	buffers, err := must(wire.EncodeRegion(protocol.SharedRegion{ID: id, Bytes: uint64(bytes)})).Buffers(0)
	if err != nil {
		return err
	}
	_, err = l.connection.WriteWith(buffers[0], region.Descriptor())
	return err
}

// Place writes gradients into a free slot; false where there is none.
func (l *Local) Place(gradients []float32) (protocol.Place, bool) {
	bytes := vector.Bytes(gradients)
	for id, slot := range l.slots {
		if slot.free {
			slot.free = false
			slot.generation++
			copy(slot.region.Bytes(), bytes)
			return protocol.Place{Region: id, Generation: slot.generation, Bytes: uint64(len(bytes))}, true
		}
	}
	return protocol.Place{}, false
}

// Slot is the memory of a slot, to be written to when that is wrong.
func (l *Local) Slot(id uint32) []byte { return l.slots[id].region.Bytes() }

// Free is how many slots may be written to.
func (l *Local) Free() (free int) {
	for _, slot := range l.slots {
		if slot.free {
			free++
		}
	}
	return free
}

// Reply reads a reply, as the function Reply does, and what was released with it.
func (l *Local) Reply() (request uint64, reply any, err error) {
	return replyIn(l.frame, func(id uint32) []byte { return l.regions[id].Bytes() })
}

// frame reads frames, and takes the regions that are announced between them.
func (l *Local) frame() (*capnp.Message, error) {
	for {
		message, err := l.next()
		if err != nil {
			return nil, err
		}
		root, err := tensor.ReadRootMessage(message)
		if err != nil {
			return nil, err
		}
		if root.Which() != tensor.Message_Which_sharedRegion {
			return message, l.release(root)
		}
		if err := l.take(must(root.SharedRegion())); err != nil {
			return nil, err
		}
	}
}

func (l *Local) take(announced tensor.SharedRegion) error {
	descriptor, arrived := l.connection.Descriptor()
	if !arrived {
		return fmt.Errorf("region %d came without its descriptor", announced.Id())
	}
	region, err := shared.Receive(descriptor, announced.Bytes(), nil)
	if err != nil {
		return err
	}
	l.regions[announced.Id()] = region
	return nil
}

// release notes which slots a reply frees.
func (l *Local) release(root tensor.Message) error {
	var list capnp.UInt32List
	switch root.Which() {
	case tensor.Message_Which_gradientAck:
		list = must(must(root.GradientAck()).Released())
	case tensor.Message_Which_shardLease:
		list = must(must(root.ShardLease()).Released())
	case tensor.Message_Which_aggregate:
		list = must(must(root.Aggregate()).Released())
	default:
		return nil
	}
	for i := range list.Len() {
		slot := l.slots[list.At(i)]
		if slot == nil || slot.free {
			return fmt.Errorf("slot %d was released, but is not in use", list.At(i))
		}
		slot.free = true
	}
	return nil
}

// Placed encodes an update whose gradients are at a place.
func (u Update) Placed(place protocol.Place) wire.Frame {
	return frame(protocol.KindGradientUpdate, 512+128*len(u.Reports), nil, func(root tensor.Message, _ wire.Payload) {
		update := must(root.NewGradientUpdate())
		update.SetStep(u.Step)
		update.SetFirstShard(u.FirstShard)
		update.SetShardCount(uint32(len(u.Reports)))
		update.SetFinal(true)
		u.writeReports(update)
		to := must(update.NewPlace())
		to.SetRegion(place.Region)
		to.SetGeneration(place.Generation)
		to.SetOffset(place.Offset)
		to.SetBytes(place.Bytes)
		digest := contenthash.XXH3Tree.Of(vector.Bytes(u.Gradients))
		check(to.SetDigest(digest[:]))
	})
}
