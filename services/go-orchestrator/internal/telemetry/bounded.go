package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// Limits of a log.
const (
	maxValueBytes = 1 << 10 // of the text of an attribute
	burst         = 100     // lines with the same message that are written at once
	perSecond     = 5       // and of those that follow
	maxMessages   = 1 << 10 // different messages that are counted
)

// handler bounds what a log may take. Messages are constants of the program, so that they tell
// which lines repeat.
type handler struct {
	next    slog.Handler
	samples *samples
}

func bounded(next slog.Handler) slog.Handler {
	return handler{next, &samples{lines: map[string]*sample{}}}
}

// Enabled is that of the wrapped handler.
func (h handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle writes a line with its values cut, or leaves it out and counts it in the next one.
func (h handler) Handle(ctx context.Context, line slog.Record) error {
	omitted, write := h.samples.take(line.Message, line.Time)
	if !write {
		return nil
	}
	short := slog.NewRecord(line.Time, line.Level, line.Message, line.PC)
	line.Attrs(func(attribute slog.Attr) bool {
		short.AddAttrs(cut(attribute))
		return true
	})
	if omitted > 0 {
		short.AddAttrs(slog.Int("omitted", omitted))
	}
	return h.next.Handle(ctx, short)
}

// WithAttrs is that of the wrapped handler.
func (h handler) WithAttrs(attributes []slog.Attr) slog.Handler {
	return handler{h.next.WithAttrs(attributes), h.samples}
}

// WithGroup is that of the wrapped handler.
func (h handler) WithGroup(name string) slog.Handler {
	return handler{h.next.WithGroup(name), h.samples}
}

// cut shortens the text of an attribute.
func cut(attribute slog.Attr) slog.Attr {
	value := attribute.Value.Resolve()
	if value.Kind() != slog.KindString && value.Kind() != slog.KindAny {
		return attribute
	}
	text := value.String()
	if len(text) <= maxValueBytes {
		return attribute
	}
	return slog.String(attribute.Key,
		fmt.Sprintf("%s... (%d bytes)", strings.ToValidUTF8(text[:maxValueBytes], ""), len(text)))
}

// samples says which lines are written: of each message as many as a bucket has tokens.
type samples struct {
	mutex sync.Mutex
	lines map[string]*sample
}

type sample struct {
	tokens  float64
	at      time.Time
	omitted int
}

// take reports whether a line is written, and how many like it were left out before.
func (s *samples) take(message string, now time.Time) (omitted int, write bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	of := s.lines[message]
	if of == nil {
		if len(s.lines) >= maxMessages {
			clear(s.lines)
		}
		of = &sample{tokens: burst, at: now}
		s.lines[message] = of
	}
	of.tokens = min(burst, of.tokens+max(0, now.Sub(of.at).Seconds())*perSecond)
	of.at = now
	if of.tokens < 1 {
		of.omitted++
		return 0, false
	}
	of.tokens--
	omitted, of.omitted = of.omitted, 0
	return omitted, true
}
