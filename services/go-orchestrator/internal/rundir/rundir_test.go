package rundir

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
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
	if past.Records != nil || past.Lines != 0 {
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
	count := 0
	if err := past.Records.Each(func(ledger.Record) error { count++; return nil }); err != nil || count != 1 ||
		past.Lines != 2 {
		t.Fatalf("%d records, %+v, %v", count, past, err)
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

// A ledger may come from anybody, and names files.
func TestOnlyCheckpointsAreReadOrDeleted(t *testing.T) {
	path := t.TempDir()
	d := started(t, filepath.Join(path, "run"))
	defer d.Close()
	victim := filepath.Join(path, "victim")
	content := []byte("not of this run")
	if err := errors.Join(os.WriteFile(victim, content, 0o600), os.WriteFile(victim+".json", content, 0o600),
		os.Mkdir(filepath.Join(path, "run", checkpoints), 0o700),
		os.Symlink(victim, filepath.Join(path, "run", checkpoints, "step-0000000007.safetensors"))); err != nil {
		t.Fatal(err)
	}
	memory := budget.New("test", 1<<20)
	for _, file := range []string{"../victim", victim, "checkpoints/../../victim", "ledger.jsonl", "",
		"checkpoints/step-0000000008.safetensors", "checkpoints/step-0000000007.safetensors\x00",
		"checkpoints/step-0000000007.safetensors"} { // the last one is a link
		c := ledger.Checkpoint{Step: 7, File: file, Bytes: uint64(len(content)), SHA256: sha256.Sum256(content)}
		if snapshot, err := d.LoadCheckpoint(c, memory); err == nil {
			t.Errorf("%q was read: %d bytes", file, snapshot.TotalBytes)
		}
		if d.hasCheckpoint(c) {
			t.Errorf("%q counts as a checkpoint", file)
		}
		if err := d.RemoveCheckpoint(c); (err == nil) != (file == ledger.CheckpointFile(7)) {
			t.Errorf("%q was deleted: %v", file, err)
		}
	}
	for _, file := range []string{victim, victim + ".json", filepath.Join(path, "run", ledger.Name)} {
		if _, err := os.Stat(file); err != nil {
			t.Error(err)
		}
	}
	if memory.Used() != 0 {
		t.Errorf("%d bytes are taken", memory.Used())
	}
}

func TestASizeThatTheFileHasNotIsRefusedBeforeMemoryIsTaken(t *testing.T) {
	d := started(t, t.TempDir())
	defer d.Close()
	content := []byte("state")
	s := protocol.NewSnapshot(7, protocol.Hash{}, [][]byte{content}, 5, sha256.Sum256(content), func() {})
	c, err := d.SaveCheckpoint("r", s, 0, 7)
	if err != nil {
		t.Fatal(err)
	}
	for _, bytes := range []uint64{0, 4, 6, 1 << 63, 1<<64 - 5} {
		c.Bytes = bytes
		if _, err := d.LoadCheckpoint(c, budget.New("test", 1<<20)); err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%d bytes: %v", bytes, err)
		}
	}
}

func TestLinksAreNotWrittenThrough(t *testing.T) {
	for _, name := range []string{ledger.Name, "metrics.jsonl"} {
		path, victim := t.TempDir(), filepath.Join(t.TempDir(), "victim")
		if err := errors.Join(started(t, path).Close(), os.Remove(filepath.Join(path, name)),
			os.WriteFile(victim, nil, 0o600), os.Symlink(victim, filepath.Join(path, name))); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Open(path, clock.System{}, failpoint.Never); err == nil ||
			!strings.Contains(err.Error(), "symbolic link") {
			t.Errorf("%s: %v", name, err)
		}
		if info, err := os.Stat(victim); err != nil || info.Size() != 0 {
			t.Errorf("%s: %d bytes were written, %v", name, info.Size(), err)
		}
	}
	// run.json is replaced, and so is whatever has the name that it is written under.
	path, victim := t.TempDir(), filepath.Join(t.TempDir(), "victim")
	d := started(t, path)
	defer d.Close()
	if err := errors.Join(os.WriteFile(victim, nil, 0o600), os.Symlink(victim, filepath.Join(path, "run.json")),
		os.Symlink(victim, filepath.Join(path, "run.json.tmp")), d.Write(run.Record{RunID: "r"})); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(filepath.Join(path, "run.json")); err != nil || !info.Mode().IsRegular() {
		t.Error(info.Mode(), err)
	}
	if info, err := os.Stat(victim); err != nil || info.Size() != 0 {
		t.Errorf("%d bytes were written, %v", info.Size(), err)
	}
}

func TestPipesAreNotWaitedFor(t *testing.T) {
	for _, name := range []string{ledger.Name, "metrics.jsonl"} {
		path := t.TempDir()
		if err := errors.Join(started(t, path).Close(), os.Remove(filepath.Join(path, name)),
			syscall.Mkfifo(filepath.Join(path, name), 0o600)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Open(path, clock.System{}, failpoint.Never); err == nil ||
			!strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOthersCannotReadARun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run")
	d := started(t, path)
	content := []byte("state")
	s := protocol.NewSnapshot(7, protocol.Hash{}, [][]byte{content}, 5, sha256.Sum256(content), func() {})
	_, err := d.SaveCheckpoint("r", s, 0, 7)
	if err := errors.Join(err, d.Write(run.Record{}), d.Close()); err != nil {
		t.Fatal(err)
	}
	files := 0
	if err := filepath.WalkDir(path, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Mode().Perm()&0o027 != 0 {
			t.Errorf("%s has mode %v", file, info.Mode())
		}
		files++
		return err
	}); err != nil || files != 7 {
		t.Fatalf("%d files, %v", files, err)
	}
}
