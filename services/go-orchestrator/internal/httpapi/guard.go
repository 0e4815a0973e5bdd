package httpapi

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"pangea.example/pangea/services/go-orchestrator/internal/identity"
)

var errStranger = errors.New("this page wants a certificate of role viewer or admin, " +
	"or the header `Authorization: Bearer TOKEN` with the token of the run")

// Members lets those in who have a certificate of role viewer or admin, or the run's token.
func Members(of *identity.Identity) Guard {
	return func(r *http.Request) error {
		if token, is := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); is && of.HasToken(token) {
			return nil
		}
		if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
			return errStranger
		}
		name, err := of.Admit(r.TLS.PeerCertificates)
		if err == nil && !slices.Contains([]identity.Role{identity.Viewer, identity.Admin}, name.Role) {
			err = errStranger
		}
		return err
	}
}
