package httpapi

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pangea.example/pangea/services/go-orchestrator/internal/budget"
	"pangea.example/pangea/services/go-orchestrator/internal/run"
	"pangea.example/pangea/services/go-orchestrator/internal/telemetry"
)

type source struct{ reason, stuck error }

func (s source) Alive() error { return s.stuck }

func (s source) Ready() error { return s.reason }

func (s source) Status(context.Context) (run.Status, error) {
	return run.Status{RunID: "one", State: run.Running}, s.reason
}

func get(s source, path string) (int, string) {
	metrics := telemetry.NewMetrics(budget.New("test", 7))
	answer := httptest.NewRecorder()
	New(s, metrics.Handler(), nil).Handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
	return answer.Code, answer.Body.String()
}

func TestPages(t *testing.T) {
	stopping, stuck := source{reason: errors.New("the run stops")}, source{stuck: errors.New("the disk hangs")}
	for _, test := range []struct {
		source source
		path   string
		code   int
		text   string
	}{
		{source{}, "/healthz", 200, "ok"},
		{source{}, "/readyz", 200, "ok"},
		{source{}, "/status", 200, `"run_id":"one","state":"running"`},
		{source{}, "/metrics", 200, "pangea_orchestrator_memory_limit_bytes 7"},
		{stopping, "/healthz", 200, "ok"},
		{stuck, "/healthz", 503, "the disk hangs"},
		{stopping, "/readyz", 503, "the run stops"},
		{stopping, "/status", 503, "the run stops"},
		{source{}, "/nothing", 404, ""},
	} {
		if code, text := get(test.source, test.path); code != test.code || !strings.Contains(text, test.text) {
			t.Errorf("%s: %d %s", test.path, code, text)
		}
	}
}
