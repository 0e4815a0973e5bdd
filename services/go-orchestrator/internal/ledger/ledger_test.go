package ledger

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/failpoint"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// memory is a file that can be cut, flipped and made to fail.
type memory struct {
	data    []byte
	failing error
}

func (m *memory) ReadAt(to []byte, at int64) (int, error) {
	n := copy(to, m.data[min(at, int64(len(m.data))):])
	if n < len(to) {
		return n, io.EOF
	}
	return n, nil
}

func (m *memory) WriteAt(data []byte, at int64) (int, error) {
	if m.failing != nil {
		return 0, m.failing
	}
	for int64(len(m.data)) < at+int64(len(data)) {
		m.data = append(m.data, 0)
	}
	return copy(m.data[at:], data), nil
}

func (m *memory) Size() (int64, error)      { return int64(len(m.data)), nil }
func (m *memory) Truncate(size int64) error { m.data = m.data[:size]; return nil }
func (m *memory) Sync() error               { return m.failing }

func exact(value Float) *Float { return &value }

func samples() []Record {
	when := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	return []Record{
		&Settings{Format: Format, RunID: "r", Seed: 7, Shards: 2, BatchSize: 4, Epochs: 1},
		&Start{Time: when},
		&Model{Software: "torch", Dataset: Dataset{Name: "d", TrainSamples: 6},
			Parameters: []Spec{{"a", "float32", []uint64{3}}}, EpochSteps: 2, TotalSteps: 2},
		&Worker{ID: 1, Name: "w <&> \"x\"", Time: when},
		&Step{Step: 0, Samples: 4, LossSum: 0.1, Time: when, Contributions: []Contribution{{0, 2, 1, []Shard{
			{Shard: 0, To: 2, LossSum: 0.3, Weight: exact(2), BatchHash: protocol.Hash{1}},
			{Shard: 1, From: 2, To: 4, LossSum: 1e300, Weight: exact(0), BatchHash: protocol.Hash{2}},
		}}}, Divisor: exact(2), Figures: map[string]Float{"b <&>": 0.1, "a": Float(math.NaN())},
			FiguresBefore: map[string]Float{"norm": 1e-9}},
		&Checkpoint{Step: 1, File: "checkpoints/x", Bytes: 9},
		&Incident{Kind: Conflict, Detail: "d", Time: when},
		&Stop{Steps: 2, Reason: "the loss no longer falls", Worker: 1, Name: "w", Time: when},
		&Change{What: ChangedStop, From: "the loss no longer falls", Step: 2, Time: when},
		&Finished{Steps: 2, Figures: map[string]Float{"norm": 2}},
	}
}

func written(t *testing.T, records ...Record) *memory {
	t.Helper()
	file := &memory{}
	l, old, err := Open(file, failpoint.Never)
	if err != nil || len(old) != 0 {
		t.Fatal(old, err)
	}
	for _, record := range records {
		if err := l.Append(record); err != nil {
			t.Fatal(err)
		}
	}
	return file
}

func copied(file *memory) *memory { return &memory{data: append([]byte{}, file.data...)} }

func TestAppendedRecordsAreReadBack(t *testing.T) {
	file := written(t, samples()...)
	for range 3 {
		_, records, err := Open(file, failpoint.Never)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := show(t, records), show(t, samples()); got != want {
			t.Fatalf("got\n%s\nwant\n%s", got, want)
		}
	}
}

func show(t *testing.T, records []Record) string {
	t.Helper()
	var text strings.Builder
	for _, record := range records {
		body, err := encode(record)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "%s\n", body)
	}
	return text.String()
}

func TestEveryTruncationIsNoticed(t *testing.T) {
	file := written(t, samples()...)
	for size := range len(file.data) {
		_, records, err := Open(&memory{data: append([]byte{}, file.data[:size]...)}, failpoint.Never)
		var damaged *DamagedError
		// Nothing at all, or the beginning of two empty slots, is what a crash at the very start leaves;
		// these slots are not empty.
		if size > 0 && !errors.As(err, &damaged) && !(size < 40 && len(records) == 0) {
			t.Fatalf("cut to %d bytes: %d records, error %v", size, len(records), err)
		}
	}
}

func TestEveryFlippedByteIsNoticedOrHarmless(t *testing.T) {
	file := written(t, samples()...)
	want := show(t, samples())
	for at := range file.data {
		flipped := copied(file)
		flipped.data[at] ^= 0x20
		_, records, err := Open(flipped, failpoint.Never)
		var damaged *DamagedError
		if at < recordsFrom {
			// One spoilt slot is what a crash may leave: nothing is lost by it.
			if err != nil || show(t, records) != want {
				t.Fatalf("byte %d of a slot: %v", at, err)
			}
		} else if !errors.As(err, &damaged) || damaged.Offset > int64(at) {
			t.Fatalf("byte %d: %v", at, err)
		}
	}
}

func TestUnacknowledgedRecordsAreTakenOverWholeOrDropped(t *testing.T) {
	all := samples()
	before, after := written(t, all[:4]...), written(t, all[:5]...)
	for size := len(before.data); size <= len(after.data); size++ {
		torn := copied(before) // its slots know of four records
		torn.data = append(torn.data, after.data[len(before.data):size]...)
		l, records, err := Open(torn, failpoint.Never)
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		want := 4
		if size == len(after.data) {
			want = 5
		}
		if len(records) != want {
			t.Fatalf("%d bytes: %d records", size, len(records))
		}
		if err := l.Append(all[5]); err != nil {
			t.Fatal(err)
		}
		if _, records, err = Open(torn, failpoint.Never); err != nil || len(records) != want+1 {
			t.Fatalf("%d bytes, after one more: %d records, %v", size, len(records), err)
		}
	}
}

func TestNothingIsAppendedAfterAnError(t *testing.T) {
	file := written(t, samples()[:4]...)
	l, _, err := Open(file, failpoint.Never)
	if err != nil {
		t.Fatal(err)
	}
	file.failing = errors.New("no space left on device")
	if err := l.Append(samples()[4]); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Fatal(err)
	}
	file.failing = nil
	if err := l.Append(samples()[4]); err == nil {
		t.Fatal("it continued after an error")
	}
	if _, records, err := Open(file, failpoint.Never); err != nil || len(records) != 4 {
		t.Fatal(len(records), err)
	}
}

func TestFailpointsAreHitInOrder(t *testing.T) {
	var hits []string
	l, _, err := Open(&memory{}, func(point failpoint.Point) { hits = append(hits, string(point)) })
	if err != nil {
		t.Fatal(err)
	}
	const append, slot = "ledger.before-append ledger.after-append ledger.after-sync ", "ledger.before-slot ledger.after-slot "
	for _, one := range []struct {
		do   func() error
		want string
	}{
		{func() error { return l.Append(&Start{}) }, append + slot + "ledger.after-commit"},
		{func() error { return l.Append(&Step{}) }, append + "ledger.after-commit"},
		{l.Settle, strings.TrimSpace(slot)},
		{l.Settle, ""},
	} {
		hits = nil
		if err := one.do(); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(hits, " "); got != one.want {
			t.Fatalf("got %q, want %q", got, one.want)
		}
	}
}

func TestTwoProcessesCannotHoldOneLedger(t *testing.T) {
	folder := t.TempDir()
	openDisk := func() (*Disk, error) {
		file, err := os.OpenFile(filepath.Join(folder, Name), os.O_RDWR|os.O_CREATE, 0o640)
		if err != nil {
			t.Fatal(err)
		}
		return OpenDisk(file, folder)
	}
	disk, err := openDisk()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openDisk(); err == nil || !strings.Contains(err.Error(), "another orchestrator") {
		t.Fatal(err)
	}
	if err := disk.Close(); err != nil {
		t.Fatal(err)
	}
	if disk, err = openDisk(); err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	if l, _, err := Open(disk, failpoint.Never); err != nil || l.Append(samples()...) != nil || l.Bytes() <= recordsFrom {
		t.Fatal(err)
	}
}

// The check of a slot keeps no secret: whoever writes a ledger can make one that passes.
func TestCraftedSlotsAreRefused(t *testing.T) {
	file := &memory{}
	l, _, err := Open(file, failpoint.Never)
	if err != nil || l.Append(samples()...) != nil || l.Close() != nil {
		t.Fatal(err)
	}
	good := l.last
	for name, change := range map[string]func(*slot){
		"a negative size":       func(s *slot) { s.Bytes = -5 },
		"a size below its own":  func(s *slot) { s.Bytes = recordsFrom - 1 },
		"more than the file":    func(s *slot) { s.Bytes = 1 << 62 },
		"inside of a record":    func(s *slot) { s.Bytes -= 3 },
		"more records":          func(s *slot) { s.Records++ },
		"more than can be said": func(s *slot) { s.Records = 1<<64 - 1 },
		"another chain":         func(s *slot) { s.Chain[0]++ },
	} {
		bad := good
		change(&bad)
		bad.Slot = 0
		other := bad
		other.Slot = 1
		data := append(append(bad.line(), other.line()...), file.data[recordsFrom:]...)
		var damaged *DamagedError
		if _, _, err := Open(&memory{data: data}, failpoint.Never); !errors.As(err, &damaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRecordsAreVisitedByKindAndUntilAnError(t *testing.T) {
	file := &memory{}
	l, _, err := Open(file, failpoint.Never)
	if err != nil || l.Append(samples()...) != nil || l.Append(&Change{What: ChangedEpochs, To: "3"}) != nil {
		t.Fatal(err)
	}
	_, past, err := OpenStreamed(file, failpoint.Never)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		var seen []Record
		if err := past.Each(func(r Record) error { seen = append(seen, r); return nil }); err != nil ||
			len(seen) != len(samples())+1 {
			t.Fatal(len(seen), err)
		}
		seen = nil
		if err := past.Each(func(r Record) error { seen = append(seen, r); return nil }, ChangeKind); err != nil ||
			len(seen) != 2 || seen[1].(*Change).To != "3" {
			t.Fatal(seen, err)
		}
	}
	enough, visits := errors.New("enough"), 0
	if err := past.Each(func(Record) error { visits++; return enough }); !errors.Is(err, enough) || visits != 1 {
		t.Fatal(visits, err)
	}
}

// A record may be longer than what is read at a time.
func TestALongRecordIsReadBack(t *testing.T) {
	file := &memory{}
	l, _, err := Open(file, failpoint.Never)
	name := strings.Repeat("x", 1<<20)
	if err != nil || l.Append(&Settings{RunID: name}, &Settings{RunID: "short"}) != nil {
		t.Fatal(err)
	}
	_, records, err := Open(file, failpoint.Never)
	if err != nil || len(records) != 2 || records[0].(*Settings).RunID != name || records[1].(*Settings).RunID != "short" {
		t.Fatal(len(records), err)
	}
}
