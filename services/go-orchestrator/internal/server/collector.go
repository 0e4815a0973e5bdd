package server

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pangea.example/pangea/services/go-orchestrator/internal/run"
)

// scrapePatience is how long a scrape waits for the loop.
const scrapePatience = 2 * time.Second

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName("pangea", "orchestrator", name), help, labels, nil)
}

// What a scrape reports of the run's status.
var (
	stateMetric        = describe("state", "1 for the state that the run is in, 0 for the others.", "state")
	stepMetric         = describe("step", "The open step.")
	totalStepsMetric   = describe("total_steps", "Steps of the whole run; 0 until the first worker has joined.")
	lossMetric         = describe("loss", "Mean loss over the samples of the last step that was applied.")
	figureMetric       = describe("figure", "What the script logged (run.log) in the last step that was applied.", "name")
	leasedMetric       = describe("leased_shards", "Shards of the open step that workers have and have not sent.")
	silentMetric       = describe("silent_workers", "Workers that have joined and send no heartbeat.")
	secondLeasesMetric = describe("second_leases_total", "Shards leased to a second worker because the first was late.")
)

// Describe implements prometheus.Collector.
func (s *Server) Describe(to chan<- *prometheus.Desc) {
	for _, metric := range []*prometheus.Desc{stateMetric, stepMetric, totalStepsMetric, lossMetric, figureMetric, leasedMetric,
		silentMetric, secondLeasesMetric} {
		to <- metric
	}
}

// Collect implements prometheus.Collector. A server that has ended has no status, and gives
// nothing.
func (s *Server) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapePatience)
	defer cancel()
	status, err := s.Status(ctx)
	if err != nil {
		return
	}
	gauge := func(metric *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(metric, prometheus.GaugeValue, value, labels...)
	}
	for _, state := range []run.State{run.Waiting, run.Running, run.Finished, run.Stopped} {
		is := 0.0
		if status.State == state {
			is = 1
		}
		gauge(stateMetric, is, string(state))
	}
	leased, silent := 0, 0
	for _, worker := range status.Workers {
		leased += len(worker.Shards)
		if worker.Silent {
			silent++
		}
	}
	gauge(stepMetric, float64(status.Step))
	gauge(totalStepsMetric, float64(status.TotalSteps))
	gauge(lossMetric, float64(status.Loss))
	for name, value := range status.Figures {
		gauge(figureMetric, float64(value), name)
	}
	gauge(leasedMetric, float64(leased))
	gauge(silentMetric, float64(silent))
	to <- prometheus.MustNewConstMetric(secondLeasesMetric, prometheus.CounterValue, float64(status.SecondLeases))
}
