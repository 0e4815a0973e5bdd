package telemetry

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"pangea.example/pangea/services/go-orchestrator/internal/budget"
	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// Metrics of the service. All are safe for use by several goroutines.
type Metrics struct {
	registry *prometheus.Registry

	Workers       prometheus.Gauge
	Connections   prometheus.Gauge
	Displaced     prometheus.Counter
	TooSlow       prometheus.Counter
	Samples       prometheus.Counter
	StepSeconds   prometheus.Histogram
	Verdicts      *prometheus.CounterVec // by verdict
	Refusals      *prometheus.CounterVec // by action
	CommitSeconds prometheus.Histogram
	LedgerBytes   prometheus.Gauge
	WorkerSeconds *prometheus.CounterVec // by activity
	Incidents     *prometheus.CounterVec // by kind, as in the ledger
	Checkpoints   *prometheus.CounterVec // by result
	CheckpointAt  prometheus.Gauge
	BytesReceived prometheus.Counter
	BytesSent     prometheus.Counter
	SharedUpdates prometheus.Counter
	SharedSums    prometheus.Counter
}

// Activities of a worker in a step, and results of a checkpoint.
const (
	Data     = "data"
	Compute  = "compute"
	Exchange = "exchange"

	Written = "written"
	Failed  = "failed"
)

// NewMetrics makes a separate set, so that several servers can live in one process. Series with
// labels exist from the start, at 0: a rate of a series that appears only with its first event
// would miss that event.
func NewMetrics(memory *budget.Budget) *Metrics {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	with := promauto.With(registry)
	gauge := func(name, help string) prometheus.Gauge {
		return with.NewGauge(prometheus.GaugeOpts{Namespace: "pangea", Subsystem: "orchestrator", Name: name, Help: help})
	}
	counter := func(name, help string) prometheus.Counter {
		return with.NewCounter(prometheus.CounterOpts{Namespace: "pangea", Subsystem: "orchestrator", Name: name, Help: help})
	}
	vector := func(name, help, label string, values ...string) *prometheus.CounterVec {
		made := with.NewCounterVec(prometheus.CounterOpts{Namespace: "pangea", Subsystem: "orchestrator", Name: name,
			Help: help}, []string{label})
		for _, value := range values {
			made.WithLabelValues(value)
		}
		return made
	}
	with.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "pangea", Subsystem: "orchestrator", Name: "memory_bytes",
		Help: "Memory of gradients, snapshots and arriving frames."},
		func() float64 { return float64(memory.Used()) })
	gauge("memory_limit_bytes", "What memory_bytes may reach: --max-memory-bytes.").Set(float64(memory.Limit()))
	var verdicts, actions []string
	for verdict := protocol.Accepted; verdict <= protocol.Refused; verdict++ {
		verdicts = append(verdicts, verdict.String())
	}
	for action := protocol.FixRequest; action <= protocol.Stop; action++ {
		actions = append(actions, action.String())
	}
	return &Metrics{
		registry:    registry,
		Workers:     gauge("workers", "Workers that have joined."),
		Connections: gauge("connections", "Open connections."),
		Displaced: counter("displaced_connections_total",
			"Connections that were closed for newer ones before they had joined."),
		TooSlow: counter("slow_connections_total", "Connections that were closed because nothing arrived in time."),
		Samples: counter("samples_total", "Samples in closed steps."),
		StepSeconds: with.NewHistogram(prometheus.HistogramOpts{Namespace: "pangea", Subsystem: "orchestrator",
			Name: "step_seconds",
			Help: "Time from opening to closing of a step.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 16)}),
		CommitSeconds: with.NewHistogram(prometheus.HistogramOpts{Namespace: "pangea", Subsystem: "orchestrator",
			Name: "ledger_commit_seconds",
			Help: "Time to bring records to the disk.", Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16)}),
		LedgerBytes: gauge("ledger_bytes", "Committed bytes of the ledger."),
		Verdicts:    vector("updates_total", "Gradient updates by verdict.", "verdict", verdicts...),
		Refusals:    vector("refusals_total", "Refused requests by what the worker is to do.", "action", actions...),
		WorkerSeconds: vector("worker_seconds_total", "Where the time of a worker went, mean over the workers of each step.",
			"activity", Data, Compute, Exchange),
		Incidents: vector("incidents_total", "Incidents in the ledger since the start of the process.",
			"kind", ledger.Conflict, ledger.Divergence, ledger.Quarantine, ledger.Replay, ledger.Script),
		Checkpoints: vector("checkpoints_total", "Checkpoints by result.", "result", Written, Failed),
		CheckpointAt: gauge("checkpoint_timestamp_seconds",
			"When this process last wrote a checkpoint, seconds since 1970; 0 before the first."),
		BytesReceived: counter("received_bytes_total", "Bytes from workers."),
		BytesSent:     counter("sent_bytes_total", "Bytes to workers."),
		SharedUpdates: counter("shared_updates_total", "Gradient updates that were read from memory of a worker."),
		SharedSums:    counter("shared_sums_total", "Aggregates that a worker was let read in memory."),
	}
}

// Add exports what another part of the process collects.
func (m *Metrics) Add(collector prometheus.Collector) { m.registry.MustRegister(collector) }

// Handler serves the metrics as Prometheus text.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
