package server

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"

	"pangea.example/pangea/services/go-orchestrator/internal/budget"
	"pangea.example/pangea/services/go-orchestrator/internal/identity"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/run"
	"pangea.example/pangea/services/go-orchestrator/internal/wire"
)

// peer is one connection.
type peer struct {
	server     *Server
	id         run.Peer
	connection stream
	origin     string   // what connections are counted by
	sharing    *sharing // nil where memory cannot be shared with the peer
	out        *outbox
	assembly   assembly
	paced      *paced
	refusals   spent
	heartbeats spent
	// Counts what it has sent and is not handled yet, and its replies: the newcomers' share, and its
	// own once it has joined.
	memory atomic.Pointer[budget.Budget]
	// How often it was asked for its state and has not sent it yet: nobody else may send any.
	asked atomic.Int32

	certificate string      // the worker that its certificate is of; empty where it has none
	admitted    atomic.Bool // it may make requests
}

// newPeer prepares a connection, which has no number yet.
func newPeer(s *Server, connection stream) *peer {
	connection = s.secure(connection)
	p := &peer{server: s, connection: connection, origin: originOf(connection), sharing: s.share(connection),
		out: newOutbox(), refusals: spent{allowance: refusedRequests}, heartbeats: spent{allowance: heartbeats}}
	p.memory.Store(s.memory.newcomers)
	p.paced = newPaced(connection, s.config.Clock, s.config.Pace, s.config.Metrics.BytesReceived,
		func() { s.post(run.PeerSeen{Peer: p.id}) })
	return p
}

// joined reports whether the peer has joined at any time.
func (p *peer) joined() bool { return p.paced.joined.Load() }

// join gives the peer what only workers have: a place, a share of the memory, and time.
func (p *peer) join() {
	p.server.gate.joined(p)
	p.memory.Store(p.server.memory.worker())
	p.paced.joined.Store(true)
}

// close ends both directions at once. An error means that it is closed already.
func (p *peer) close() { _ = p.connection.Close() }

// put queues a reply. A peer that does not read its replies is disconnected.
func (p *peer) put(reply outgoing) {
	if !p.out.put(reply, p.memory.Load()) {
		p.close()
	}
}

// broken ends a connection for which a message cannot be encoded.
func (p *peer) broken(err error) {
	p.server.config.Log.Error("cannot encode a message", "peer", p.address(), "error", err.Error())
	p.close()
}

// address of the peer, for people.
func (p *peer) address() string {
	if p.sharing != nil {
		return "a worker on this machine" // its end of a Unix socket has no name
	}
	return p.connection.RemoteAddr().String()
}

// reply queues a reply of one frame.
func (p *peer) reply(request uint64, reply protocol.Reply) {
	if refusal, is := reply.(*protocol.Error); is {
		p.server.config.Metrics.Refusals.WithLabelValues(refusal.Action.String()).Inc()
		if p.refusals.exceeded() {
			return // it is being closed
		}
		if !p.refusals.take(p.server.config.Clock.Now()) {
			request, reply = 0, refusedRequests.last()
		}
	}
	var released []uint32
	if p.sharing != nil && wire.Releases(reply) {
		released = p.sharing.takeReleased()
	}
	frame, err := wire.Encode(reply, released...)
	if err != nil {
		p.broken(err)
		return
	}
	p.put(small(frame, request))
}

// closeGracefully sends what is queued and closes. It reads on for a moment: a connection that is
// closed over unread bytes loses its last reply.
func (p *peer) closeGracefully() {
	p.out.finish()
	<-p.out.done
	if p.connection.CloseWrite() == nil && p.connection.SetReadDeadline(
		p.server.config.Clock.Now().Add(drainTimeout)) == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(p.connection, 64<<20))
	}
	p.close()
}

// read handles messages until the connection ends.
func (p *peer) read() {
	buffered := bufio.NewReaderSize(p.paced, 4096)
	memory := p.memory.Load()
	reader := wire.NewReader(buffered, p.server.limits, memory)
	reader.PlaceBy(p.place)
	reason := ""
	if err := p.introduce(); err != nil {
		reason = err.Error()
	}
	p.admitted.Store(reason == "")
	for reason == "" {
		frame, err := reader.Next()
		if err != nil {
			reason = p.ended(err)
			break
		}
		if !p.admitted.Load() {
			reason = identity.ErrRevoked.Error()
			break
		}
		message, err := wire.Open(frame)
		if err != nil {
			p.refuse(message, protocol.Errorf(protocol.FixRequest, "%v", err))
		} else if err := p.handle(message, reader.Size()); err != nil {
			p.server.config.Log.Warn("a connection is no longer usable", "peer", p.address(),
				"error", err.Error())
			p.refuse(message, asRefusal(err))
			reason = err.Error()
		}
		if reason == "" && p.refusals.exceeded() {
			reason = refusedRequests.last().Detail
		}
		p.paced.between(buffered.Buffered() > 0, p.assembly.open())
		if now := p.memory.Load(); now != memory {
			memory = now
			reader.CountAgainst(memory)
		}
	}
	reader.Close()
	p.assembly.discard()
	if p.sharing != nil {
		p.sharing.close()
	}
	p.server.post(run.PeerDisconnected{Peer: p.id, Reason: reason})
	p.closeGracefully()
}

// ended says why no more frames can be read, and tells the peer if that is its fault.
func (p *peer) ended(err error) string {
	var malformed *wire.FrameError
	var tooSlow *tooSlowError
	switch {
	case errors.Is(err, io.EOF):
		return "closed its connection"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "closed its connection inside a frame"
	case errors.Is(err, net.ErrClosed):
		return "was disconnected"
	case errors.As(err, &tooSlow):
		p.server.config.Metrics.TooSlow.Inc()
	case errors.As(err, &malformed):
		err = fmt.Errorf("received bytes that are not a frame: %w", err)
	}
	p.refuse(wire.Message{}, asRefusal(err))
	return err.Error()
}

// asRefusal is what a peer receives for an error after which its connection is closed.
func asRefusal(err error) *protocol.Error {
	var exhausted *budget.ExhaustedError
	if errors.As(err, &exhausted) {
		refusal := protocol.Errorf(protocol.RetryLater,
			"the orchestrator is short of memory (%v); connect again, or raise --max-memory-bytes", err)
		refusal.RetryAfter = 1
		return refusal
	}
	return protocol.Errorf(protocol.Reconnect, "%v; the connection is closed", err)
}

func (p *peer) refuse(message wire.Message, refusal *protocol.Error) {
	if message.Kind.Known() {
		refusal.Refused = message.Kind
	}
	p.reply(message.RequestID, refusal)
}
