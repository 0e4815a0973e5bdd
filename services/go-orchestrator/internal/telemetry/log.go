// Package telemetry is what the process reports about itself: structured logs and Prometheus
// metrics.
package telemetry

import (
	"io"
	"log/slog"
)

// NewLogger writes one line for each event, as JSON or as text.
func NewLogger(format string, to io.Writer) *slog.Logger {
	if format == "text" {
		return slog.New(slog.NewTextHandler(to, nil))
	}
	return slog.New(slog.NewJSONHandler(to, nil))
}
