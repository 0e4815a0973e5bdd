package server

import (
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
func (p *peer) handle(m wire.Message) error {
	if m.Kind == protocol.KindHeartbeat {
		return nil // its arrival was noted when its bytes were read
	}
	if err := p.assembly.check(m); err != nil {
		return err
	}
	var err error
	switch m.Kind {
	case protocol.KindGradientUpdate:
		return p.update(m)
	case protocol.KindSnapshot:
		return p.snapshot(m)
	case protocol.KindJoinRequest:
		var join protocol.Join
		if join, err = m.Join(); err == nil {
			p.server.post(run.JoinRequested{Peer: p.id, Request: m.RequestID, Join: join, Certificate: p.certificate})
		}
	case protocol.KindSharedRegion:
		return p.region(m)
	case protocol.KindWorkRequest:
		if p.sharing != nil {
			p.sharing.letGo()
		}
		var work protocol.Work
		if work, err = m.Work(); err == nil {
			p.server.post(run.WorkRequested{Peer: p.id, Request: m.RequestID, Work: work})
		}
	case protocol.KindLeave:
		var leave protocol.Leave
		if leave, err = m.Leave(); err == nil {
			p.server.post(run.LeaveRequested{Peer: p.id, Request: m.RequestID, Leave: leave})
		}
	default:
		err = fmt.Errorf("unsupported: an orchestrator does not accept %s; "+
			"workers send joinRequest, workRequest, gradientUpdate, snapshot, heartbeat and leave", m.Kind)
	}
	if err != nil {
		p.refuse(m, protocol.Errorf(protocol.FixRequest, "%s: %v", m.Kind, err))
	}
	return nil
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
	if frame.Kind != protocol.KindGradientUpdate || frame.Placed() || layout == nil {
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
