package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestTheTextsOfALineAreCut(t *testing.T) {
	for _, value := range []any{strings.Repeat("é", 1<<20), errors.New(strings.Repeat("é", 1<<20))} {
		var to bytes.Buffer
		NewLogger("json", &to).Warn("refused a worker", "reason", value, "count", 7)
		var line map[string]any
		if err := json.Unmarshal(to.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		if text, is := line["reason"].(string); !is || to.Len() > 2<<10 || !strings.HasSuffix(text, "é... (2097152 bytes)") ||
			line["count"] != 7.0 {
			t.Fatal(to.String())
		}
	}
}

func TestLinesThatRepeatAreLeftOutAndCounted(t *testing.T) {
	var to bytes.Buffer
	log := bounded(slog.NewTextHandler(&to, nil))
	now := time.Unix(1000, 0)
	write := func(message string) {
		if err := log.Handle(context.Background(), slog.NewRecord(now, slog.LevelWarn, message, 0)); err != nil {
			t.Fatal(err)
		}
	}
	for range 100_000 {
		write("refused a worker")
	}
	write("another message")
	if lines := strings.Count(to.String(), "\n"); lines != burst+1 {
		t.Fatalf("%d lines", lines)
	}

	// After a second there is room for some more, the first of which says what is missing.
	now = now.Add(time.Second)
	to.Reset()
	for range 1000 {
		write("refused a worker")
	}
	if text := to.String(); strings.Count(text, "\n") != perSecond || !strings.Contains(text, "omitted=99900") {
		t.Fatal(text)
	}
}

func TestOnlySomeMessagesAreRemembered(t *testing.T) {
	s := samples{lines: map[string]*sample{}}
	for i := range 10 * maxMessages {
		s.take(strings.Repeat("x", i%5000), time.Unix(0, 0))
	}
	if len(s.lines) > maxMessages {
		t.Fatalf("%d messages", len(s.lines))
	}
}
