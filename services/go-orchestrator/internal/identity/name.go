package identity

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Role is what the holder of a certificate is to a run.
type Role string

// The roles of a run.
const (
	Orchestrator Role = "orchestrator"
	Data         Role = "data"
	Worker       Role = "worker"
	Admin        Role = "admin"
	Viewer       Role = "viewer"
)

var roles = []Role{Orchestrator, Data, Worker, Admin, Viewer}

// AnyName in a worker's certificate lets it join under whatever name: Jobs and Ray clusters start
// workers whose names nobody knows beforehand.
const AnyName = "*"

// scheme of the URI that a certificate names its holder by: pangea://RUN/ROLE/NAME.
const scheme = "pangea"

// Name is who holds a certificate.
type Name struct {
	Run  string // the label of the run that the authority was made for
	Role Role
	Name string
}

// String returns the URI.
func (n Name) String() string { return scheme + "://" + n.Run + "/" + string(n.Role) + "/" + n.Name }

// NameOf reads the name out of a certificate: its one URI.
func NameOf(certificate *x509.Certificate) (Name, error) {
	if len(certificate.URIs) != 1 {
		return Name{}, fmt.Errorf("the certificate has %d URIs; Pangea's have one, pangea://RUN/ROLE/NAME; "+
			"make certificates with `pangea certs`", len(certificate.URIs))
	}
	return parse(certificate.URIs[0])
}

// What a run and a holder may be called: what has one form in a URI, whoever reads it.
var (
	runName    = regexp.MustCompile(`^[a-zA-Z0-9]([-_.a-zA-Z0-9]{0,61}[a-zA-Z0-9])?$`)
	holderName = regexp.MustCompile(`^[a-zA-Z0-9][-_.a-zA-Z0-9]{0,127}$`)
)

func parse(uri *url.URL) (Name, error) {
	role, name, _ := strings.Cut(strings.TrimPrefix(uri.Path, "/"), "/")
	parsed := Name{uri.Host, Role(role), name}
	if !slices.Contains(roles, parsed.Role) && uri.Scheme == scheme {
		return Name{}, fmt.Errorf("the certificate's role is %.100q; the roles are %v", role, roles)
	}
	// The form also excludes a user, a port, a query, and characters that are written as %XX.
	named := holderName.MatchString(name) || name == AnyName && parsed.Role == Worker
	if !named || !runName.MatchString(parsed.Run) || parsed.String() != uri.String() {
		return Name{}, fmt.Errorf("the certificate's URI is %.100q; Pangea's are pangea://RUN/ROLE/NAME, where names "+
			"have letters, digits, - _ and .; make certificates with `pangea certs`", uri.String())
	}
	return parsed, nil
}
