// Package identity says who a peer is: by a certificate of the run's one authority, over TLS 1.3.
// docs/reference/identity.md describes the files and roles.
//
// The files are read again when they change, so that certificates are renewed and revoked while a
// run continues.
package identity

import (
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Identity is that of this process.
type Identity struct {
	dir  string
	role Role
	now  func() time.Time

	current atomic.Pointer[files]
	mutex   sync.Mutex
	seen    stamp
}

// Open reads a directory, whose certificate must have the role and be valid.
func Open(dir string, role Role, now func() time.Time) (*Identity, error) {
	i := &Identity{dir: dir, role: role, now: now}
	if _, err := i.Refresh(); err != nil {
		return nil, fmt.Errorf("--identity %s: %w", dir, err)
	}
	return i, nil
}

// Refresh reads the files again if they have changed. After an error the old ones stay in use: they
// may be in the middle of being replaced.
func (i *Identity) Refresh() (changed bool, err error) {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	now := stampOf(i.dir)
	if i.current.Load() != nil && now == i.seen {
		return false, nil
	}
	read, err := read(i.dir)
	if err != nil {
		return false, err
	}
	if read.name.Role != i.role {
		return false, fmt.Errorf("the certificate's role is %s; this process needs one of role %s", read.name.Role, i.role)
	}
	if leaf := read.certificate.Leaf; i.now().After(leaf.NotAfter) {
		return false, fmt.Errorf("the certificate expired on %s; renew it with `pangea certs`",
			leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	i.seen = now
	i.current.Store(read)
	return true, nil
}

// Name of this process.
func (i *Identity) Name() Name { return i.current.Load().name }

// Workers is the configuration for connections of workers, who must show a certificate. Whether it
// is of the authority is for Admit: package tls would try each of the certificates that a stranger
// sends along as its issuer, which takes a second of a core.
func (i *Identity) Workers() *tls.Config { return i.config(tls.RequireAnyClientCert) }

// Pages is the configuration for people and probes, who need no certificate for some of the pages.
// A certificate counts for nothing before Admit has looked at it.
func (i *Identity) Pages() *tls.Config { return i.config(tls.RequestClientCert) }

func (i *Identity) config(clients tls.ClientAuthType) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			now := i.current.Load()
			return &tls.Config{
				MinVersion: tls.VersionTLS13, Time: i.now,
				Certificates: []tls.Certificate{now.certificate},
				ClientAuth:   clients,
				// A session that is resumed would outlive the certificate that it began with.
				SessionTicketsDisabled: true,
				// Frames are large; small records would only cost more of them.
				DynamicRecordSizingDisabled: true,
			}, nil
		},
	}
}

// ErrRevoked is the error of Check for a certificate that the authority has revoked.
var ErrRevoked = errors.New("the certificate is revoked; ask whoever leads the run for a new one")

// Admit verifies the certificate of a client that has shown it, and says who that is. The handshake
// has proven only that the client has its key.
func (i *Identity) Admit(chain []*x509.Certificate) (Name, error) {
	if err := verify(chain, i.current.Load().authority, i.now(), x509.ExtKeyUsageClientAuth); err != nil {
		return Name{}, err
	}
	return i.Check(chain)
}

// Check says who the peer of a connection is, whose certificate was found to be the authority's; an
// error is what it may not be used for. It is called again when the files have changed.
func (i *Identity) Check(chain []*x509.Certificate) (Name, error) {
	if len(chain) == 0 {
		return Name{}, errors.New("the connection has no certificate")
	}
	now := i.current.Load()
	name, err := NameOf(chain[0])
	if err != nil {
		return name, err
	}
	if name.Run != now.name.Run {
		return name, fmt.Errorf("the certificate %s is not of the run %s", name, now.name.Run)
	}
	if _, is := now.revoked[chain[0].SerialNumber.String()]; is {
		return name, fmt.Errorf("%s: %w", name, ErrRevoked)
	}
	return name, nil
}

// HasToken reports whether a text is the token that opens the pages. There may be none.
func (i *Identity) HasToken(text string) bool {
	token := i.current.Load().token
	return len(token) > 0 && subtle.ConstantTimeCompare(token, []byte(text)) == 1
}
