package wire

import (
	"fmt"

	"pangea.example/pangea/schemas/tensor"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/vector"
)

// SharedRegion reads what is said of a region.
func (m Message) SharedRegion() (region protocol.SharedRegion, err error) {
	defer guard(&err)
	given, err := m.root.SharedRegion()
	if err != nil {
		return region, err
	}
	return protocol.SharedRegion{ID: given.Id(), Bytes: given.Bytes()}, nil
}

// Placed reports whether the message is a gradient update whose gradients are in shared memory.
func (m Message) Placed() (placed bool) {
	defer func() { placed = placed && recover() == nil }()
	if m.Kind != protocol.KindGradientUpdate {
		return false
	}
	update, err := m.root.GradientUpdate()
	return err == nil && update.HasPlace()
}

// PlacedUpdate reads a gradient update whose gradients are in shared memory: all of it but the
// gradients.
func (m Message) PlacedUpdate() (update protocol.Update, place protocol.Place, err error) {
	defer guard(&err)
	frame, err := m.root.GradientUpdate()
	if err != nil {
		return update, place, err
	}
	pieces, err := frame.Gradients()
	if err != nil {
		return update, place, err
	}
	if !frame.Final() || pieces.Len() > 0 {
		return update, place, fmt.Errorf("an update in shared memory is one frame without gradients")
	}
	update.Step, update.FirstShard, update.ShardCount = frame.Step(), frame.FirstShard(), frame.ShardCount()
	if update.Reports, err = readReports(frame); err != nil {
		return update, place, err
	}
	given, err := frame.Place()
	if err != nil {
		return update, place, err
	}
	place = protocol.Place{Region: given.Region(), Generation: given.Generation(), Offset: given.Offset(),
		Bytes: given.Bytes()}
	digest, err := parseHash("place.digest", given.Digest)
	update.Digest, update.Unchecked = vector.Digest(digest), true
	return update, place, err
}

// EncodeRegion makes the frame that announces a region.
func EncodeRegion(region protocol.SharedRegion) (Frame, error) {
	return NewFrame(128, nil, func(root tensor.Message, _ Payload) error {
		root.SetType(tensor.MessageType_sharedRegion)
		message, err := root.NewSharedRegion()
		if err != nil {
			return err
		}
		message.SetId(region.ID)
		message.SetBytes(region.Bytes)
		return nil
	})
}

// EncodePlaced makes the one frame of an aggregate whose gradients are at a place in shared memory.
// released are regions of the receiver that may be written again.
func EncodePlaced(aggregate *protocol.Aggregate, place protocol.Place, released []uint32) (Frame, error) {
	return NewFrame(512+4*len(released), nil, func(root tensor.Message, _ Payload) error {
		root.SetType(tensor.MessageType_aggregate)
		message, err := root.NewAggregate()
		if err != nil {
			return err
		}
		message.SetStep(aggregate.Step)
		message.SetSamples(aggregate.Samples)
		message.SetLossSum(aggregate.LossSum)
		message.SetDivisor(aggregate.Divisor)
		message.SetFinal(true)
		if err := message.SetHash(aggregate.Hash[:]); err != nil {
			return err
		}
		to, err := message.NewPlace()
		if err != nil {
			return err
		}
		to.SetRegion(place.Region)
		to.SetGeneration(place.Generation)
		to.SetOffset(place.Offset)
		to.SetBytes(place.Bytes)
		return setList(message.NewReleased, released)
	})
}
