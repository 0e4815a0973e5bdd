package identity

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
)

// Client is the configuration for connecting to a process of a role. The role in its certificate
// counts, not the name of its host: processes move.
func (i *Identity) Client(role Role) *tls.Config {
	now := i.current.Load()
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Time: i.now,
		Certificates: []tls.Certificate{now.certificate},
		// VerifyConnection verifies the chain instead: that of package tls would want a host name.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			return i.verifyServer(state.PeerCertificates, now.authority, role)
		},
	}
}

func (i *Identity) verifyServer(chain []*x509.Certificate, authority *x509.CertPool, role Role) error {
	if err := verify(chain, authority, i.now(), x509.ExtKeyUsageServerAuth); err != nil {
		return err
	}
	name, err := i.Check(chain)
	if err != nil {
		return err
	}
	if name.Role != role {
		return fmt.Errorf("the server's certificate is %s; one of role %s is expected", name, role)
	}
	return nil
}
