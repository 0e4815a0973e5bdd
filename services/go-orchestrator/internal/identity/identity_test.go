package identity_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/identity"
	"pangea.example/pangea/services/go-orchestrator/internal/identity/identitytest"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func open(t *testing.T, dir string, role identity.Role) *identity.Identity {
	t.Helper()
	opened, err := identity.Open(dir, role, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

// connect shakes hands between a worker and the orchestrator, and returns what each side says.
func connect(t *testing.T, server *identity.Identity, client *tls.Config) (who identity.Name, served, connected error) {
	t.Helper()
	one, other := pair(t)
	ended := make(chan error, 1)
	go func() {
		connection := tls.Client(other, client)
		err := connection.HandshakeContext(context.Background())
		if err == nil {
			_, err = connection.Read(make([]byte, 1)) // the server's verdict arrives after the handshake
		}
		_ = other.Close()
		ended <- err
	}()
	connection := tls.Server(one, server.Workers())
	served = connection.HandshakeContext(context.Background())
	if served == nil {
		who, served = server.Admit(connection.ConnectionState().PeerCertificates)
		_, _ = connection.Write([]byte{1})
	}
	_ = one.Close()
	return who, served, <-ended
}

// pair returns both ends of a connection, which has room for what nobody reads.
func pair(t *testing.T) (one, other net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if other, err = net.Dial("tcp", listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if one, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	return one, other
}

func TestAPeerIsKnownByItsCertificate(t *testing.T) {
	authority := identitytest.New(t, now)
	ours, _ := authority.Issue("pangea://r/orchestrator/o")
	theirs, _ := authority.Issue("pangea://r/worker/w-1")
	server := open(t, ours, identity.Orchestrator)
	client := open(t, theirs, identity.Worker)
	who, served, connected := connect(t, server, client.Client(identity.Orchestrator))
	want := identity.Name{Run: "r", Role: identity.Worker, Name: "w-1"}
	if served != nil || connected != nil || who != want {
		t.Errorf("%v is connected (%v, %v)", who, served, connected)
	}
	// A worker does not take another process for the orchestrator.
	_, _, connected = connect(t, server, client.Client(identity.Data))
	if connected == nil || !strings.Contains(connected.Error(), "one of role data is expected") {
		t.Errorf("the worker says %v", connected)
	}
}

func TestStrangersAreRefused(t *testing.T) {
	authority, other := identitytest.New(t, now), identitytest.New(t, now)
	ours, _ := authority.Issue("pangea://r/orchestrator/o")
	server := open(t, ours, identity.Orchestrator)
	foreign, _ := other.Issue("pangea://r/worker/w")
	run, _ := authority.Issue("pangea://another/worker/w")
	for name, test := range map[string]struct {
		client *tls.Config
		says   string
	}{
		"without a certificate": {&tls.Config{InsecureSkipVerify: true}, "didn't provide a certificate"},
		"of another authority": {&tls.Config{InsecureSkipVerify: true,
			Certificates: open(t, foreign, identity.Worker).Client(identity.Orchestrator).Certificates}, "not of this run's authority"},
		"of another run": {&tls.Config{InsecureSkipVerify: true,
			Certificates: open(t, run, identity.Worker).Client(identity.Orchestrator).Certificates}, "is not of the run r"},
	} {
		if _, served, _ := connect(t, server, test.client); served == nil || !strings.Contains(served.Error(), test.says) {
			t.Errorf("a worker %s: %v", name, served)
		}
	}
}

func TestAPeerThatShowsManyCertificatesIsRefused(t *testing.T) {
	authority, other := identitytest.New(t, now), identitytest.New(t, now)
	ours, _ := authority.Issue("pangea://r/orchestrator/o")
	theirs, _ := authority.Issue("pangea://r/worker/w")
	foreign, _ := other.Issue("pangea://r/worker/w")
	server := open(t, ours, identity.Orchestrator)
	certificates := open(t, theirs, identity.Worker).Client(identity.Orchestrator).Certificates
	foreigner := open(t, foreign, identity.Worker).Client(identity.Orchestrator).Certificates[0].Certificate[0]
	for shown, refused := range map[int]bool{1: false, 4: false, 5: true, 8: true} {
		one := certificates[0]
		one.Certificate = append(slices.Clone(one.Certificate), slices.Repeat([][]byte{foreigner}, shown-1)...)
		_, served, _ := connect(t, server, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{one}})
		if (served != nil) != refused || refused && !strings.Contains(served.Error(), "certificates were sent; at most 4") {
			t.Errorf("with %d certificates: %v", shown, served)
		}
	}
}

func TestCertificatesAreRevokedAndRenewedWhileTheProcessRuns(t *testing.T) {
	authority := identitytest.New(t, now)
	ours, _ := authority.Issue("pangea://r/orchestrator/o")
	theirs, serial := authority.Issue("pangea://r/worker/w")
	server, client := open(t, ours, identity.Orchestrator), open(t, theirs, identity.Worker)
	authority.Revoke(serial, ours)
	if changed, err := server.Refresh(); !changed || err != nil {
		t.Fatalf("changed: %v, %v", changed, err)
	}
	if _, served, _ := connect(t, server, client.Client(identity.Orchestrator)); !errors.Is(served, identity.ErrRevoked) {
		t.Errorf("a revoked worker: %v", served)
	}
	authority.Renew(theirs, "pangea://r/worker/w", now.Add(time.Hour))
	authority.Renew(ours, "pangea://r/orchestrator/o", now.Add(time.Hour))
	for _, one := range []*identity.Identity{server, client} {
		if changed, err := one.Refresh(); !changed || err != nil {
			t.Fatalf("changed: %v, %v", changed, err)
		}
	}
	if _, served, connected := connect(t, server, client.Client(identity.Orchestrator)); served != nil || connected != nil {
		t.Errorf("after the renewal: %v, %v", served, connected)
	}
	if changed, err := server.Refresh(); changed || err != nil {
		t.Errorf("nothing has changed: %v, %v", changed, err)
	}
}

func TestFilesInTheMiddleOfBeingReplacedAreNotUsed(t *testing.T) {
	authority := identitytest.New(t, now)
	dir, _ := authority.Issue("pangea://r/orchestrator/o")
	server := open(t, dir, identity.Orchestrator)
	if err := os.WriteFile(filepath.Join(dir, "certificate.pem"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if changed, err := server.Refresh(); changed || err == nil {
		t.Errorf("changed: %v, %v", changed, err)
	}
	if server.Name().Name != "o" {
		t.Errorf("the process is %v", server.Name())
	}
}

func TestDirectoriesThatCannotBeUsedAreNamed(t *testing.T) {
	authority := identitytest.New(t, now)
	worker, _ := authority.Issue("pangea://r/worker/w")
	expired, _ := authority.IssueUntil("pangea://r/orchestrator/o", now.Add(-time.Minute))
	foreign, _ := authority.Issue("https://example.org/orchestrator/o")
	other, serial := identitytest.New(t, now).Issue("pangea://r/orchestrator/o")
	authority.Revoke(serial, other)
	for says, dir := range map[string]string{
		"read the authority's certificate":    t.TempDir(),
		"role is worker":                      worker,
		"expired on 2026-01-02T03:03:05Z":     expired,
		"Pangea's are pangea://RUN/ROLE/NAME": foreign,
		"is not signed by the authority":      other,
	} {
		_, err := identity.Open(dir, identity.Orchestrator, func() time.Time { return now })
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q is expected: %v", says, err)
		}
	}
}

func TestATokenOpensPages(t *testing.T) {
	authority := identitytest.New(t, now)
	dir, _ := authority.Issue("pangea://r/orchestrator/o")
	server := open(t, dir, identity.Orchestrator)
	if server.HasToken("") {
		t.Error("without a token, an empty one opens the pages")
	}
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Refresh(); err != nil || !server.HasToken("secret") || server.HasToken("secre") {
		t.Errorf("the token is not used (%v)", err)
	}
}
