// Package telemetry is what the process reports about itself: structured logs and Prometheus
// metrics.
package telemetry

import (
	"io"
	"log/slog"
)

// NewLogger writes one line for each event, as JSON or as text. What peers say is cut, and of lines
// that repeat some are left out: a log must not grow as fast as peers like.
func NewLogger(format string, to io.Writer) *slog.Logger {
	if format == "text" {
		return slog.New(bounded(slog.NewTextHandler(to, nil)))
	}
	return slog.New(bounded(slog.NewJSONHandler(to, nil)))
}
