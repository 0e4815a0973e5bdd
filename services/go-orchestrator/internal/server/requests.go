package server

import (
	"errors"
	"fmt"

	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/run"
	"pangea.example/pangea/services/go-orchestrator/internal/state"
	"pangea.example/pangea/services/go-orchestrator/internal/vector"
	"pangea.example/pangea/services/go-orchestrator/internal/wire"
)

// assembly is what is not complete yet of messages in several frames. The frames of a snapshot may
// come between those of anything else, because a worker sends its state beside its work; those of
// an update follow each other.
type assembly struct {
	update   *wire.UpdateAssembly
	snapshot *wire.SnapshotAssembly
}

// open reports whether the rest of a message is to follow.
func (a *assembly) open() bool { return a.update != nil || a.snapshot != nil }

func (a *assembly) discard() {
	if a.update != nil {
		a.update.Discard()
	}
	if a.snapshot != nil {
		a.snapshot.Discard()
	}
	*a = assembly{}
}

// check refuses a frame that may not follow those that have arrived.
func (a *assembly) check(m wire.Message) error {
	kind, request := m.Kind, m.RequestID
	switch {
	case m.Kind == protocol.KindSnapshot && a.snapshot != nil:
		kind, request = protocol.KindSnapshot, a.snapshot.RequestID
	case m.Kind != protocol.KindSnapshot && a.update != nil:
		kind, request = protocol.KindGradientUpdate, a.update.RequestID
	}
	if m.Kind != kind || m.RequestID != request {
		return fmt.Errorf("the frames of a %s (request %d) are mixed with a %s (request %d)", kind, request, m.Kind,
			m.RequestID)
	}
	return nil
}

// handle turns a message into an event. A wrong request is refused and the connection stays usable;
// after an error it is not.
func (p *peer) handle(m wire.Message, frameBytes int64) error {
	if m.Kind == protocol.KindHeartbeat {
		// Its arrival was noted when its bytes were read.
		if !p.heartbeats.take(p.server.config.Clock.Now()) {
			return heartbeats.last()
		}
		return nil
	}
	if err := p.mayBulk(m.Kind); err != nil {
		return err
	}
	if err := p.assembly.check(m); err != nil {
		return err
	}
	switch m.Kind {
	case protocol.KindGradientUpdate:
		return p.update(m)
	case protocol.KindSnapshot:
		return p.snapshot(m)
	case protocol.KindSharedRegion:
		return p.region(m)
	}
	charge := p.memory.Load()
	if err := charge.Take(decodedFactor * frameBytes); err != nil {
		return err
	}
	event, err := p.request(m)
	if err != nil {
		charge.Give(decodedFactor * frameBytes)
		p.refuse(m, protocol.Errorf(protocol.FixRequest, "%s: %v", m.Kind, err))
		return nil
	}
	p.server.postCharged(posted{event, func() { charge.Give(decodedFactor * frameBytes) }})
	return nil
}

// decodedFactor is how many times its frame a decoded request takes at most: the frame's traversal
// limit bounds its texts, and a parameter takes as much as in the frame again.
const decodedFactor = 8

// mayBulk refuses what only workers send, and a state that nobody asked for: both take memory
// before the machine sees them.
func (p *peer) mayBulk(kind protocol.Kind) error {
	switch kind {
	case protocol.KindGradientUpdate, protocol.KindSnapshot, protocol.KindSharedRegion:
		if !p.joined() {
			return fmt.Errorf("a %s arrived on a connection that has not joined; send a JoinRequest first", kind)
		}
	}
	if kind == protocol.KindSnapshot && p.asked.Load() <= 0 {
		return errors.New("a snapshot arrived that nobody asked for")
	}
	return nil
}

// request decodes a message of one frame.
func (p *peer) request(m wire.Message) (run.Event, error) {
	switch m.Kind {
	case protocol.KindJoinRequest:
		join, err := m.Join()
		p.paced.heartbeat = join.Heartbeat
		return run.JoinRequested{Peer: p.id, Request: m.RequestID, Join: join, Certificate: p.certificate}, err
	case protocol.KindWorkRequest:
		if p.sharing != nil {
			p.sharing.letGo()
		}
		work, err := m.Work()
		return run.WorkRequested{Peer: p.id, Request: m.RequestID, Work: work}, err
	case protocol.KindLeave:
		leave, err := m.Leave()
		return run.LeaveRequested{Peer: p.id, Request: m.RequestID, Leave: leave}, err
	}
	return nil, fmt.Errorf("unsupported: an orchestrator does not accept %s; "+
		"workers send joinRequest, workRequest, gradientUpdate, snapshot, heartbeat and leave", m.Kind)
}

// begin starts an update with its first frame, unless Place has done so already.
func (a *assembly) begin(first wire.Message, layout *protocol.Layout, pool *vector.Pool) {
	if a.update == nil {
		a.update = wire.NewUpdateAssembly(first, layout, pool)
	}
}

// place lets the gradients of an update be read to where they belong. What is wrong with a frame is
// said when it has arrived.
func (p *peer) place(frame wire.Outline) ([][]byte, error) {
	layout := p.server.layout.Load()
	if frame.Kind != protocol.KindGradientUpdate || !p.joined() || frame.Placed() || layout == nil {
		return nil, nil
	}
	p.assembly.begin(frame.Message, layout, p.server.pool)
	return p.assembly.update.Place(frame)
}

func (p *peer) update(m wire.Message) error {
	layout := p.server.layout.Load()
	if layout == nil {
		return fmt.Errorf("a gradientUpdate arrived before any worker joined; send a JoinRequest first")
	}
	if m.Placed() {
		return p.placed(m, layout)
	}
	p.assembly.begin(m, layout, p.server.pool)
	update, err := p.assembly.update.Add(m)
	if err != nil {
		return fmt.Errorf("gradientUpdate: %w", err)
	}
	if update != nil {
		p.assembly.update = nil
		p.server.post(run.UpdateReceived{Peer: p.id, Request: m.RequestID, Update: *update})
	}
	return nil
}

func (p *peer) snapshot(m wire.Message) error {
	if p.assembly.snapshot == nil {
		started, err := wire.NewSnapshotAssembly(m, p.server.config.Memory)
		if err != nil {
			return fmt.Errorf("snapshot: %w", err)
		}
		p.assembly.snapshot = started
	}
	whole, err := p.assembly.snapshot.Add(m)
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	if whole != nil {
		p.assembly.snapshot = nil
		p.asked.Add(-1)
		p.server.post(run.SnapshotReceived{Peer: p.id, Request: m.RequestID, Snapshot: whole, Wrong: p.server.wrong(whole)})
	}
	return nil
}

// wrong says why the parameters in a state are not those that its hash says; "" if they are. Before
// the run has a model, no state is of use, and none is looked at.
func (s *Server) wrong(snapshot *protocol.Snapshot) string {
	layout := s.layout.Load()
	if layout == nil {
		return ""
	}
	if err := state.Check(snapshot, layout, s.method); err != nil {
		return err.Error()
	}
	return ""
}
