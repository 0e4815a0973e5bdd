package server

import (
	"errors"
	"fmt"
	"sync"

	"pangea.example/pangea/services/go-orchestrator/internal/budget"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/run"
	"pangea.example/pangea/services/go-orchestrator/internal/shared"
	"pangea.example/pangea/services/go-orchestrator/internal/vector"
	"pangea.example/pangea/services/go-orchestrator/internal/wire"
)

// sharing is the memory that this process and a worker on the same machine read from each other:
// the worker's slots, which it writes gradients into, and aggregates.
//
// A slot is read from the message that names it until nobody needs its gradients; then a reply
// lists it as released, and the worker may write to it again. An aggregate stays where it is until
// the worker's next request for work.
type sharing struct {
	connection *shared.Connection
	budget     *budget.Budget // of the slots that are mapped

	slots map[uint32]*slot // used by the goroutine that reads the connection

	announced map[uint32]struct{} // regions of this process that the worker knows; used by the loop

	mutex    sync.Mutex
	released []uint32         // slots, to be listed in the next reply
	held     []*vector.Vector // aggregates that the worker may be reading
}

// slot is a region of a worker.
type slot struct {
	region     *shared.Region
	generation uint64 // of its last use
	busy       bool   // its gradients are needed; guarded by the mutex of sharing
}

func newSharing(connection *shared.Connection, budget *budget.Budget) *sharing {
	return &sharing{connection: connection, budget: budget, slots: map[uint32]*slot{},
		announced: map[uint32]struct{}{}}
}

// add maps a region that the worker has announced, so that it is listed as released. An error that
// is not fatal means that it is not used, and the worker continues to send frames.
func (s *sharing) add(announced protocol.SharedRegion) (fatal bool, err error) {
	descriptor, arrived := s.connection.Descriptor()
	if !arrived {
		return true, fmt.Errorf("region %d was announced without its descriptor", announced.ID)
	}
	if _, known := s.slots[announced.ID]; known {
		shared.Drop(descriptor)
		return true, fmt.Errorf("region %d was announced twice", announced.ID)
	}
	bytes := int64(announced.Bytes)
	if bytes < 0 {
		bytes = 0
	}
	if err := s.budget.Take(bytes); err != nil {
		shared.Drop(descriptor)
		return false, fmt.Errorf("%w; raise --max-shared-bytes", err)
	}
	region, err := shared.Receive(descriptor, announced.Bytes, func() { s.budget.Give(bytes) })
	if err != nil {
		s.budget.Give(bytes)
		return false, err
	}
	s.slots[announced.ID] = &slot{region: region}
	s.release(announced.ID)
	return false, nil
}

// at returns the gradients at a place, with one holder. After the last one, the slot is released.
func (s *sharing) at(place protocol.Place, bytes int64) (*vector.Vector, error) {
	slot := s.slots[place.Region]
	if slot == nil {
		return nil, fmt.Errorf("region %d is not one that the worker has shared", place.Region)
	}
	memory := slot.region.Bytes()
	switch {
	case place.Bytes != uint64(bytes):
		return nil, fmt.Errorf("region %d has %d bytes of gradients; the model has %d", place.Region, place.Bytes, bytes)
	case place.Offset%64 != 0 || place.Offset > uint64(len(memory)) || place.Bytes > uint64(len(memory))-place.Offset:
		return nil, fmt.Errorf("%d bytes from byte %d on are not in region %d, which has %d", place.Bytes, place.Offset,
			place.Region, len(memory))
	case place.Generation <= slot.generation:
		return nil, fmt.Errorf("region %d is submitted with generation %d after generation %d", place.Region,
			place.Generation, slot.generation)
	}
	if !s.occupy(slot) {
		return nil, fmt.Errorf("region %d is submitted again before it was released", place.Region)
	}
	slot.generation = place.Generation
	region := slot.region.Retain()
	free := func() {
		region.Release()
		s.vacate(slot, place.Region)
	}
	gradients, err := vector.Over(memory[place.Offset:place.Offset+place.Bytes], free)
	if err != nil {
		free()
	}
	return gradients, err
}

// occupy marks a slot as needed; false if it is already.
func (s *sharing) occupy(of *slot) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if of.busy {
		return false
	}
	of.busy = true
	return true
}

// vacate releases a slot that nobody needs any more.
func (s *sharing) vacate(of *slot, id uint32) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	of.busy = false
	s.released = append(s.released, id)
}

func (s *sharing) release(id uint32) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.released = append(s.released, id)
}

// takeReleased returns the slots that were released since the last call.
func (s *sharing) takeReleased() []uint32 {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	released := s.released
	s.released = nil
	return released
}

// hold keeps an aggregate where it is until the worker has read it.
func (s *sharing) hold(gradients *vector.Vector) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.held = append(s.held, gradients.Retain())
}

// letGo frees the aggregates that the worker was given: it asks for work, or is gone.
func (s *sharing) letGo() {
	s.mutex.Lock()
	held := s.held
	s.held = nil
	s.mutex.Unlock()
	for _, gradients := range held {
		gradients.Release()
	}
}

// close ends the reading of slots once the contributions in them are no longer needed: those count,
// although their worker is gone.
func (s *sharing) close() {
	s.letGo()
	for _, slot := range s.slots {
		slot.region.Release()
	}
	s.slots = map[uint32]*slot{}
}

// share prepares a connection for shared memory; nil where that is not possible.
func (s *Server) share(connection stream) *sharing {
	if local, is := connection.(*shared.Connection); is && s.config.Shared != nil {
		return newSharing(local, s.config.Shared)
	}
	return nil
}

// region takes memory that the worker has announced. Where it cannot be used, the worker is never
// told that it may be, and sends frames.
func (p *peer) region(m wire.Message) error {
	announced, err := m.SharedRegion()
	if err != nil {
		return fmt.Errorf("sharedRegion: %w", err)
	}
	if p.sharing == nil {
		return errors.New("sharedRegion: memory is shared over a Unix socket only")
	}
	fatal, err := p.sharing.add(announced)
	if fatal {
		return fmt.Errorf("sharedRegion: %w", err)
	}
	if err != nil {
		p.server.config.Log.Warn("memory of a worker is not used; its gradients travel in frames", "error", err.Error())
	}
	return nil
}

// placed handles an update whose gradients are in shared memory. The message is what submits them:
// whatever is in a slot that no message names counts for nothing.
func (p *peer) placed(m wire.Message, layout *protocol.Layout) error {
	update, place, err := m.PlacedUpdate()
	if err != nil {
		return fmt.Errorf("gradientUpdate: %w", err)
	}
	if p.sharing == nil {
		return errors.New("gradientUpdate: memory is shared over a Unix socket only")
	}
	if update.Gradients, err = p.sharing.at(place, layout.Bytes()); err != nil {
		update.Refusal = err.Error()
	} else {
		p.server.config.Metrics.SharedUpdates.Inc()
	}
	p.server.post(run.UpdateReceived{Peer: p.id, Request: m.RequestID, Update: update})
	return nil
}

// share gives the peer an aggregate in shared memory; false where it cannot be shared, so that it
// has to be sent.
func (p *peer) share(request uint64, aggregate *protocol.Aggregate) bool {
	piece := aggregate.Gradients.Piece()
	if p.sharing == nil || piece == nil {
		return false
	}
	if _, known := p.sharing.announced[piece.Number]; !known {
		p.sharing.announced[piece.Number] = struct{}{}
		frame, err := wire.EncodeRegion(protocol.SharedRegion{ID: piece.Number, Bytes: uint64(len(piece.Region.Bytes()))})
		if err != nil {
			p.broken(err)
			return true
		}
		announcement := small(frame, 0)
		announcement.region = piece.Region
		p.put(announcement)
	}
	place := protocol.Place{Region: piece.Number, Generation: aggregate.Step + 1, Offset: piece.Offset,
		Bytes: uint64(len(piece.Bytes))}
	frame, err := wire.EncodePlaced(aggregate, place, p.sharing.takeReleased())
	if err != nil {
		p.broken(err)
		return true
	}
	p.sharing.hold(aggregate.Gradients)
	p.server.config.Metrics.SharedSums.Inc()
	p.put(small(frame, request))
	return true
}
