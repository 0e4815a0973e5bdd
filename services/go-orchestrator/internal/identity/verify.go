package identity

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// maxChain is how many certificates a peer may show: its own and those between it and the
// authority. Each is tried as the issuer of another one, before anything is known of the peer.
const maxChain = 4

// verify says why a chain, the peer's own certificate first, is not one of the authority.
func verify(chain []*x509.Certificate, authority *x509.CertPool, now time.Time, usage x509.ExtKeyUsage) error {
	switch {
	case len(chain) == 0:
		return errors.New("the connection has no certificate")
	case len(chain) > maxChain:
		return fmt.Errorf("%d certificates were sent; at most %d lie between a process and the authority", len(chain), maxChain)
	}
	intermediates := x509.NewCertPool()
	for _, certificate := range chain[1:] {
		intermediates.AddCert(certificate)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: authority, Intermediates: intermediates, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{usage}})
	return explained(err, now)
}

// explained says to the owner of a certificate what to do.
func explained(err error, now time.Time) error {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown):
		return errors.New("this process's certificate is not of this run's authority; use certificates that were made for " +
			"the same run")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && now.After(invalid.Cert.NotAfter):
		return fmt.Errorf("this process's certificate has expired (here it is %s); renew it with `pangea certs`, and compare "+
			"the clocks of both machines", now.UTC().Format(time.RFC3339))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("this process's certificate is not valid yet (here it is %s); compare the clocks of both machines",
			now.UTC().Format(time.RFC3339))
	case err != nil:
		return fmt.Errorf("this process's certificate cannot be used: %w", err)
	}
	return nil
}
