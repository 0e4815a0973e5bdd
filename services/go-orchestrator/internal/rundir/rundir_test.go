package rundir

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pangea.example/pangea/services/go-orchestrator/internal/run"
)

func TestFilesOfARun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "runs", "one")
	dir, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for step := range uint64(3) {
		if err := dir.Append(run.MetricsLine{Step: step, Loss: run.Number(math.NaN())}); err != nil {
			t.Fatal(err)
		}
	}
	for _, state := range []run.State{run.Waiting, run.Finished} {
		if err := dir.Write(run.Record{RunID: "one", State: state}); err != nil {
			t.Fatal(err)
		}
	}
	if err := dir.Close(); err != nil {
		t.Fatal(err)
	}
	metrics, err := os.ReadFile(filepath.Join(path, "metrics.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(metrics)), "\n")
	if len(lines) != 3 || !strings.Contains(lines[2], `"step":2,`) || !strings.Contains(lines[2], `"loss":null`) {
		t.Fatal(lines)
	}
	text, err := os.ReadFile(filepath.Join(path, "run.json"))
	if err != nil {
		t.Fatal(err)
	}
	var record run.Record
	if err := json.Unmarshal(text, &record); err != nil || record.State != run.Finished {
		t.Fatal(record, err)
	}
	entries, err := os.ReadDir(path)
	if err != nil || len(entries) != 2 {
		t.Fatalf("%v are left in the directory: %v", entries, err)
	}
}

func TestADirectoryWithARunIsRefused(t *testing.T) {
	path := t.TempDir()
	if _, err := Create(path); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(path); err == nil || !strings.Contains(err.Error(), "holds a run already") {
		t.Fatal(err)
	}
}

func TestAFileInThePlaceOfTheDirectoryIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Fatal(err)
	}
}
