package httpapi

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/budget"
	"pangea.example/pangea/services/go-orchestrator/internal/identity"
	"pangea.example/pangea/services/go-orchestrator/internal/identity/identitytest"
	"pangea.example/pangea/services/go-orchestrator/internal/telemetry"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func instant() time.Time { return now }

// guarded serves pages over TLS, to members.
func guarded(t *testing.T, authority *identitytest.Authority) (address string) {
	t.Helper()
	dir, _ := authority.Issue("pangea://r/orchestrator/o")
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	own, err := identity.Open(dir, identity.Orchestrator, instant)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := New(source{}, telemetry.NewMetrics(budget.New("test", 7)).Handler(), Members(own))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(tls.NewListener(listener, own.Pages()))
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-ended
	})
	return listener.Addr().String()
}

// answers is the status code of a page for somebody.
func answers(t *testing.T, url, token string, certificates []tls.Certificate) int {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: certificates}}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode
}

func TestOnlyMembersSeeTheStatus(t *testing.T) {
	authority := identitytest.New(t, now)
	url := "https://" + guarded(t, authority)
	certificates := func(role identity.Role) []tls.Certificate {
		dir, _ := authority.Issue("pangea://r/" + string(role) + "/x")
		own, err := identity.Open(dir, role, instant)
		if err != nil {
			t.Fatal(err)
		}
		return own.Client(identity.Orchestrator).Certificates
	}
	for name, test := range map[string]struct {
		page, token  string
		certificates []tls.Certificate
		code         int
	}{
		"anybody, metrics":      {"/metrics", "", nil, 200},
		"anybody, probes":       {"/healthz", "", nil, 200},
		"anybody, status":       {"/status", "", nil, 401},
		"another token, status": {"/status", "secre", nil, 401},
		"token, status":         {"/status", "secret", nil, 200},
		"worker, status":        {"/status", "", certificates(identity.Worker), 401},
		"viewer, status":        {"/status", "", certificates(identity.Viewer), 200},
		"admin, status":         {"/status", "", certificates(identity.Admin), 200},
	} {
		if code := answers(t, url+test.page, test.token, test.certificates); code != test.code {
			t.Errorf("%s: %d; want %d", name, code, test.code)
		}
	}
}

func TestAProbeKnowsItsServiceByTheRole(t *testing.T) {
	authority := identitytest.New(t, now)
	address := guarded(t, authority)
	dir, _ := authority.Issue("pangea://r/orchestrator/o")
	own, err := identity.Open(dir, identity.Orchestrator, instant)
	if err != nil {
		t.Fatal(err)
	}
	if err := Alive(context.Background(), address, own.Client(identity.Orchestrator)); err != nil {
		t.Error(err)
	}
	if err := Alive(context.Background(), address, own.Client(identity.Data)); err == nil {
		t.Error("an orchestrator is taken for a data service")
	}
}
