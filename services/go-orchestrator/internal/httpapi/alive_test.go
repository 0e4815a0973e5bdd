package httpapi

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAliveDistinguishesUpFromDown(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		w.WriteHeader(status)
	}))
	address := strings.TrimPrefix(server.URL, "http://")
	if err := Alive(t.Context(), address, nil); err != nil {
		t.Fatal(err)
	}

	// It answers, but not that all is well.
	status = http.StatusServiceUnavailable
	if err := Alive(t.Context(), address, nil); err == nil || !strings.Contains(err.Error(), "503") {
		t.Fatalf("error is %v", err)
	}

	// Nobody is there any more.
	server.Close()
	if err := Alive(t.Context(), address, nil); err == nil || !strings.Contains(err.Error(), "no answer") {
		t.Fatalf("error is %v", err)
	}
	if err := Alive(t.Context(), "a b", nil); err == nil || !strings.Contains(err.Error(), "HOST:PORT") {
		t.Fatalf("error is %v", err)
	}
}
