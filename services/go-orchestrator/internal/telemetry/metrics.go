package telemetry

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics of the service. All are safe for use by several goroutines.
type Metrics struct {
	registry *prometheus.Registry

	Step          prometheus.Gauge
	Workers       prometheus.Gauge
	Connections   prometheus.Gauge
	Samples       prometheus.Counter
	StepSeconds   prometheus.Histogram
	Verdicts      *prometheus.CounterVec // by verdict
	Refusals      *prometheus.CounterVec // by action
	CommitSeconds prometheus.Histogram
	LedgerBytes   prometheus.Gauge
	BytesReceived prometheus.Counter
	BytesSent     prometheus.Counter
}

// NewMetrics makes a set of its own, so that several servers can live in one process. memory tells the bytes in use.
func NewMetrics(memory func() int64) *Metrics {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	with := promauto.With(registry)
	gauge := func(name, help string) prometheus.Gauge {
		return with.NewGauge(prometheus.GaugeOpts{Namespace: "pangea", Subsystem: "orchestrator", Name: name, Help: help})
	}
	counter := func(name, help string) prometheus.Counter {
		return with.NewCounter(prometheus.CounterOpts{Namespace: "pangea", Subsystem: "orchestrator", Name: name, Help: help})
	}
	vector := func(name, help, label string) *prometheus.CounterVec {
		return with.NewCounterVec(prometheus.CounterOpts{Namespace: "pangea", Subsystem: "orchestrator", Name: name, Help: help}, []string{label})
	}
	with.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "pangea", Subsystem: "orchestrator", Name: "memory_bytes", Help: "Memory of gradients, snapshots and arriving frames."},
		func() float64 { return float64(memory()) })
	return &Metrics{
		registry:    registry,
		Step:        gauge("step", "The open step."),
		Workers:     gauge("workers", "Workers that have joined."),
		Connections: gauge("connections", "Open connections."),
		Samples:     counter("samples_total", "Samples in closed steps."),
		StepSeconds: with.NewHistogram(prometheus.HistogramOpts{Namespace: "pangea", Subsystem: "orchestrator", Name: "step_seconds",
			Help: "Time from opening to closing of a step.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 16)}),
		CommitSeconds: with.NewHistogram(prometheus.HistogramOpts{Namespace: "pangea", Subsystem: "orchestrator", Name: "ledger_commit_seconds",
			Help: "Time to bring records to the disk.", Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16)}),
		LedgerBytes:   gauge("ledger_bytes", "Committed bytes of the ledger."),
		Verdicts:      vector("updates_total", "Gradient updates by verdict.", "verdict"),
		Refusals:      vector("refusals_total", "Refused requests by what the worker is to do.", "action"),
		BytesReceived: counter("received_bytes_total", "Bytes from workers."),
		BytesSent:     counter("sent_bytes_total", "Bytes to workers."),
	}
}

// Handler serves the metrics as Prometheus text.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
