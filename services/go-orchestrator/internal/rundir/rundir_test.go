package rundir

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pangea.example/pangea/services/go-orchestrator/internal/budget"
	"pangea.example/pangea/services/go-orchestrator/internal/clock"
	"pangea.example/pangea/services/go-orchestrator/internal/failpoint"
	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/run"
)

func open(t *testing.T, path string) (*Dir, run.Past) {
	t.Helper()
	d, past, err := Open(path, clock.System{}, failpoint.Never)
	if err != nil {
		t.Fatal(err)
	}
	return d, past
}

func started(t *testing.T, path string) *Dir {
	t.Helper()
	d, past := open(t, path)
	if len(past.Records) != 0 || past.Lines != 0 {
		t.Fatal("a new directory has a past")
	}
	if err := errors.Join(d.Commit([]ledger.Record{&ledger.Settings{RunID: "r"}}), d.Append(run.MetricsLine{Step: 0}),
		d.Append(run.MetricsLine{Step: 1})); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestWrittenFilesAreFoundAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "run")
	d := started(t, path)
	if err := errors.Join(d.Write(run.Record{RunID: "one"}), d.Write(run.Record{RunID: "r"}), d.Close()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(path, "run.json"))
	if err != nil || !bytes.Contains(text, []byte(`"run_id": "r"`)) {
		t.Fatal(string(text), err)
	}
	d, past := open(t, path)
	defer d.Close()
	if len(past.Records) != 1 || past.Lines != 2 {
		t.Fatalf("%+v", past)
	}
	if files, _ := filepath.Glob(filepath.Join(path, "*.tmp")); len(files) != 0 {
		t.Fatal("temporary files are left", files)
	}
}

func TestATornLineOfMetricsIsTruncated(t *testing.T) {
	path := t.TempDir()
	if err := started(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	metrics := filepath.Join(path, "metrics.jsonl")
	whole, err := os.ReadFile(metrics)
	if err != nil {
		t.Fatal(err)
	}
	first := bytes.IndexByte(whole, '\n') + 1
	for size := range len(whole) {
		if err := os.WriteFile(metrics, whole[:size], 0o644); err != nil {
			t.Fatal(err)
		}
		d, past := open(t, path)
		want := uint64(0)
		if size >= first {
			want = 1
		}
		if past.Lines != want {
			t.Fatalf("%d bytes: %d lines", size, past.Lines)
		}
		if err := errors.Join(d.Append(run.MetricsLine{Step: want}), d.Close()); err != nil {
			t.Fatal(err)
		}
		d, past = open(t, path)
		if past.Lines != want+1 {
			t.Fatalf("%d bytes, after one more: %d lines", size, past.Lines)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestARunWithoutItsLedgerIsRefused(t *testing.T) {
	path := t.TempDir()
	if err := started(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(path, ledger.Name)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(path, clock.System{}, failpoint.Never); err == nil ||
		!strings.Contains(err.Error(), "its ledger is empty or missing") {
		t.Fatal(err)
	}
}

func TestAPathThatIsNotADirectoryIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(file, clock.System{}, failpoint.Never); err == nil || !strings.Contains(err.Error(), "--run-dir") {
		t.Fatal(err)
	}
}

func TestACheckpointIsReadBackOrRefused(t *testing.T) {
	path := t.TempDir()
	d := started(t, path)
	defer d.Close()
	content := bytes.Repeat([]byte("0123456789"), 1_000_000)
	freed := false
	s := protocol.NewSnapshot(7, protocol.Hash{1}, [][]byte{content[:5_000_000], content[5_000_000:]},
		uint64(len(content)), sha256.Sum256(content), func() { freed = true })
	c, err := d.SaveCheckpoint("r", s, 0, 7)
	s.Release()
	if err != nil || !freed {
		t.Fatal(err)
	}
	memory := budget.New("test", 1<<30)
	loaded, err := d.LoadCheckpoint(c, memory)
	if err != nil || !bytes.Equal(bytes.Join(loaded.Blocks, nil), content) || loaded.Step != 7 || loaded.Hash != s.Hash ||
		memory.Used() != int64(len(content)) {
		t.Fatal(err)
	}
	loaded.Release()
	file := filepath.Join(path, c.File)
	for name, bad := range map[string][]byte{
		"flipped": append(append([]byte{}, content[:len(content)-1]...), 'x'), "cut": content[:len(content)-1],
		"longer": append(append([]byte{}, content...), 'x'), "empty": nil,
	} {
		if err := os.WriteFile(file, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := d.LoadCheckpoint(c, memory); err == nil || !strings.Contains(err.Error(), c.File) ||
			!strings.Contains(err.Error(), "damaged") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if memory.Used() != 0 {
		t.Errorf("%d bytes are still taken", memory.Used())
	}
	if err := errors.Join(d.RemoveCheckpoint(c), d.RemoveCheckpoint(c)); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(filepath.Join(path, checkpoints)); len(left) != 0 {
		t.Fatal(left)
	}
}
