// Package httpapi serves people and probes: /healthz, /readyz, /metrics and /status.
package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/run"
)

// Source is where the pages get their content from.
type Source interface {
	// Alive says why the process is to be restarted; nil when it is not.
	Alive() error
	// Ready says why the service does not accept workers; nil when it does.
	Ready() error
	// Status of the run now.
	Status(context.Context) (run.Status, error)
}

// Guard says why a request may not see what only the people of the run may; nil lets it.
type Guard func(*http.Request) error

// New makes a server; the caller gives it a listener. Slow clients are cut off. guard is nil where
// whoever reaches the listener may see everything.
func New(source Source, metrics http.Handler, guard Guard) *http.Server {
	pages := http.NewServeMux()
	pages.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { probe(w, source.Alive()) })
	pages.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { probe(w, source.Ready()) })
	pages.Handle("GET /metrics", metrics)
	pages.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		if guard != nil {
			if err := guard(r); err != nil {
				w.Header().Set("WWW-Authenticate", "Bearer")
				text(w, http.StatusUnauthorized, err.Error())
				return
			}
		}
		status, err := source.Status(r.Context())
		if err != nil {
			text(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		w.Header().Set("Content-Type", "application/json")
		// The client may have disconnected; nobody else could be told.
		_ = json.NewEncoder(w).Encode(status)
	})
	return &http.Server{Handler: pages, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
}

// probe answers what asks whether all is well.
func probe(w http.ResponseWriter, err error) {
	if err != nil {
		text(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	text(w, http.StatusOK, "ok")
}

func text(w http.ResponseWriter, code int, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(line + "\n"))
}
