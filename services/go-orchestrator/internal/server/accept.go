package server

import (
	"errors"
	"fmt"
	"net"

	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/shared"
)

// maxRefusing connections without a place are told so at a time; others are closed at once.
const maxRefusing = 16

// accept takes connections until the listener is closed.
func (s *Server) accept(listener net.Listener) error {
	for {
		connection, err := listener.Accept()
		switch {
		case s.stopping.Load():
			if err == nil {
				_ = connection.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("the listener was closed: %w", err)
		case err != nil:
			// Most likely the process is out of descriptors: existing connections keep working, and the next
			// worker may be accepted.
			s.config.Log.Warn("cannot accept a connection", "error", err.Error())
			select {
			case <-s.done:
				return nil
			case <-s.config.Clock.After(acceptPause):
			}
			continue
		}
		s.welcome(connection.(stream))
	}
}

func (s *Server) welcome(connection stream) {
	if local, is := connection.(*shared.Connection); is {
		if err := local.SameUser(); err != nil {
			s.config.Log.Warn("a connection was refused", "error", err.Error())
			_ = connection.Close()
			return
		}
	}
	p := newPeer(s, connection)
	instead, entered := s.gate.enter(p)
	if !entered {
		s.turnAway(p)
		return
	}
	if instead != nil {
		s.config.Metrics.Displaced.Inc()
		// Its reader notices, and reports it as gone. Over TLS, closing may wait for the peer to read.
		go instead.close()
	}
	s.mutex.Lock()
	s.lastPeer++
	p.id = s.lastPeer
	s.peers[p.id] = p
	s.mutex.Unlock()
	s.config.Metrics.Connections.Inc()
	go p.out.write(p.connection, s.config.Clock, s.config.Metrics.BytesSent)
	go p.read()
}

// turnAway tells a connection that there is no place for it, unless many are being told.
func (s *Server) turnAway(p *peer) {
	select {
	case s.refusing <- struct{}{}:
	default:
		p.close()
		return
	}
	go func() {
		defer func() { <-s.refusing }()
		// Over TLS, it cannot be told before a handshake, for which it does not have forever.
		_ = p.connection.SetReadDeadline(s.config.Clock.Now().Add(handshakeTimeout))
		go p.out.write(p.connection, s.config.Clock, s.config.Metrics.BytesSent)
		refusal := protocol.Errorf(protocol.RetryLater,
			"the orchestrator already has as many connections as --max-connections (%d) allows, or half as many from one "+
				"address", s.config.MaxConnections)
		refusal.RetryAfter = 5
		p.reply(0, refusal)
		p.closeGracefully()
	}()
}
