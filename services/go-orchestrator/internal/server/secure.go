package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/identity"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/wire"
)

// handshakeTimeout is how long a peer may take to say who it is.
const handshakeTimeout = 10 * time.Second

// identityInterval is how often the files of this process's identity are looked at.
const identityInterval = time.Second

// secured is a connection over TLS.
type secured struct {
	*tls.Conn
	raw     stream
	bounded *introduction
}

// CloseWrite lets the peer read what was sent, and then the end.
func (s *secured) CloseWrite() error { return errors.Join(s.Conn.CloseWrite(), s.raw.CloseWrite()) }

// secure puts TLS over a connection from another machine, if this process has an identity.
func (s *Server) secure(connection stream) stream {
	tcp, is := connection.(*net.TCPConn)
	if !is || s.config.Identity == nil {
		return connection
	}
	bounded := &introduction{stream: tcp, left: maxIntroduction}
	return &secured{tls.Server(bounded, s.config.Identity.Workers()), tcp, bounded}
}

// maxIntroduction is how many bytes a peer may send to say who it is: a handshake with a few
// certificates. Package tls would hold a quarter of a MiB for each stranger, and read hundreds of
// certificates.
const maxIntroduction = 24 << 10

var errLongIntroduction = fmt.Errorf("the handshake has more than %d bytes", maxIntroduction)

// introduction bounds what is read from a peer that is not known yet. One goroutine reads.
type introduction struct {
	stream
	left int // bytes; negative once the peer is known
}

// Read reads at most what is left.
func (r *introduction) Read(to []byte) (int, error) {
	switch {
	case r.left < 0:
		return r.stream.Read(to)
	case r.left == 0:
		return 0, errLongIntroduction
	}
	n, err := r.stream.Read(to[:min(len(to), r.left)])
	r.left -= n
	return n, err
}

// known lifts the bound.
func (r *introduction) known() { r.left = -1 }

// introduce finds out who a peer is before anything else is read from it. An error ends the
// connection; the peer was told.
func (p *peer) introduce() error {
	connection, is := p.connection.(*secured)
	if !is {
		return nil
	}
	// Until it is known who the peer is, it gets no memory and no more time than this.
	if err := connection.SetDeadline(p.server.config.Clock.Now().Add(handshakeTimeout)); err != nil {
		return err
	}
	if err := connection.HandshakeContext(context.Background()); err != nil {
		p.server.config.Log.Warn("a connection was refused", "peer", p.address(), "error", err.Error())
		refuseRaw(connection.raw, err)
		return err
	}
	if err := connection.SetDeadline(time.Time{}); err != nil {
		return err
	}
	name, err := p.admit()
	if err != nil {
		p.server.config.Log.Warn("a connection was refused", "peer", p.address(), "error", err.Error())
		p.reply(0, protocol.Errorf(protocol.Stop, "%v", err))
		return err
	}
	connection.bounded.known()
	p.certificate = name.Name
	p.paced.opened = p.server.config.Clock.Now() // a slow handshake does not count against the first message
	return nil
}

// admit says which worker a peer is, or why it may not take part.
func (p *peer) admit() (identity.Name, error) {
	return mustBeWorker(p.server.config.Identity.Admit(p.connection.(*secured).ConnectionState().PeerCertificates))
}

// recognize says the same of a peer that was admitted, by files that have changed since. A
// certificate that has expired meanwhile ends no connection.
func (p *peer) recognize() (identity.Name, error) {
	return mustBeWorker(p.server.config.Identity.Check(p.connection.(*secured).ConnectionState().PeerCertificates))
}

func mustBeWorker(name identity.Name, err error) (identity.Name, error) {
	if err == nil && name.Role != identity.Worker {
		err = fmt.Errorf("the certificate %s has role %s; only workers may join a run: use a certificate of role worker",
			name, name.Role)
	}
	return name, err
}

// refuseRaw ends a connection whose handshake failed. One that does not speak TLS is told so in its
// own words; another one has been sent an alert, which must not be lost to a reset.
func refuseRaw(raw stream, failure error) {
	var plain tls.RecordHeaderError
	if errors.As(failure, &plain) {
		refusal := protocol.Errorf(protocol.Stop, "the orchestrator speaks TLS only; "+
			"give this worker an identity (--identity DIR, or PANGEA_IDENTITY)")
		if frame, err := wire.Encode(refusal); err == nil {
			if buffers, err := frame.Buffers(0); err == nil {
				_, _ = buffers.WriteTo(raw)
			}
		}
	}
	if raw.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(raw, 1<<20))
	}
}

// watchIdentity reads the identity again when its files change, and closes the connections of peers
// that it no longer admits.
func (s *Server) watchIdentity() {
	complaint := ""
	for {
		select {
		case <-s.done:
			return
		case <-s.config.Clock.After(identityInterval):
		}
		changed, err := s.config.Identity.Refresh()
		if err != nil {
			if err.Error() != complaint {
				s.config.Log.Warn("the identity has changed and cannot be used; the old one stays in use", "error", err.Error())
			}
			complaint = err.Error()
		} else {
			complaint = ""
		}
		if changed {
			s.config.Log.Info("the identity was read again")
			s.dismissRevoked()
		}
	}
}

func (s *Server) dismissRevoked() {
	s.mutex.Lock()
	var known []*peer
	for _, p := range s.peers {
		if _, is := p.connection.(*secured); is && p.admitted.Load() {
			known = append(known, p)
		}
	}
	s.mutex.Unlock()
	for _, p := range known {
		if _, err := p.recognize(); err != nil {
			s.config.Log.Warn("a connection is closed", "peer", p.address(), "error", err.Error())
			p.admitted.Store(false)
			p.reply(0, protocol.Errorf(protocol.Stop, "%v", err))
			go s.closeAfter(p, drainTimeout)
		}
	}
}

// closeAfter closes a connection whose peer was told why, and has this long to read that.
func (s *Server) closeAfter(p *peer, pause time.Duration) {
	p.out.finish()
	select {
	case <-s.config.Clock.After(pause):
	case <-s.done:
	}
	p.close()
}
