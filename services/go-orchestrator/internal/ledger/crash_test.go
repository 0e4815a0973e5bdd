package ledger

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"testing"

	"pangea.example/pangea/services/go-orchestrator/internal/failpoint"
)

const sectorBytes = 512

// The first call after a new ledger is begun; TestEveryTruncationIsNoticed is about that.
const afterBegin = 3

// kernel is a file as a kernel holds it: what is written is durable after a sync, sector by sector,
// and until then any part of it may be.
type kernel struct {
	durable, current []byte
	dirty            map[int]bool
	left             int  // calls until the power fails, or a sync does
	failing          bool // the sync fails, instead of the power
}

// powerLoss is the panic of a process whose machine has lost its power.
type powerLoss struct{}

func (k *kernel) call() (last bool) {
	k.left--
	if k.left == 0 && !k.failing {
		panic(powerLoss{})
	}
	return k.left == 0
}

func (k *kernel) ReadAt(to []byte, at int64) (int, error) {
	n := copy(to, k.current[min(at, int64(len(k.current))):])
	if n < len(to) {
		return n, io.EOF
	}
	return n, nil
}

func (k *kernel) WriteAt(data []byte, at int64) (int, error) {
	k.call()
	k.current = append(k.current, make([]byte, max(0, int(at)+len(data)-len(k.current)))...)
	for i := int(at) / sectorBytes; i*sectorBytes < int(at)+len(data); i++ {
		k.dirty[i] = true
	}
	return copy(k.current[at:], data), nil
}

func (k *kernel) Size() (int64, error) { return int64(len(k.current)), nil }

func (k *kernel) Truncate(size int64) error {
	k.call()
	k.current = k.current[:size]
	return nil
}

func (k *kernel) Sync() error {
	if k.call() {
		return errors.New("input/output error")
	}
	for sector := range k.dirty {
		k.durable = k.put(k.durable, sector, sectorBytes)
	}
	k.durable = k.durable[:min(len(k.durable), len(k.current))]
	clear(k.dirty)
	return nil
}

// images are all that the disk may hold when the power fails now: each sector that is not synced
// was written, was not, or was written in part.
func (k *kernel) images() [][]byte {
	dirty := slices.Sorted(maps.Keys(k.dirty))
	var images [][]byte
	for choice := range 1 << len(dirty) {
		image := slices.Clone(k.durable)
		for i, sector := range dirty {
			if choice>>i&1 == 1 {
				image = k.put(image, sector, sectorBytes)
			}
		}
		images = append(images, image)
		for i, sector := range dirty {
			if choice>>i&1 == 0 {
				images = append(images, k.put(slices.Clone(image), sector, sectorBytes/3))
			}
		}
	}
	return images
}

func (k *kernel) put(image []byte, sector, size int) []byte {
	from, to := sector*sectorBytes, min(sector*sectorBytes+size, len(k.current))
	if from >= to {
		return image
	}
	image = append(image, make([]byte, max(0, to-len(image)))...)
	copy(image[from:to], k.current[from:to])
	return image
}

func started(image []byte, left int) *kernel {
	return &kernel{durable: slices.Clone(image), current: slices.Clone(image), dirty: map[int]bool{}, left: left}
}

// process opens a ledger and appends records, settling after every third one, until it is done or
// the power fails. It returns how many records it knew to be committed.
func process(k *kernel, ahead int64, records []Record) (acknowledged int, done bool) {
	defer func() {
		if reason := recover(); reason != nil {
			if _, is := reason.(powerLoss); !is {
				panic(reason)
			}
		}
	}()
	l, old, err := Open(k, failpoint.Never)
	if err != nil {
		return 0, true
	}
	l.WriteAhead(ahead)
	acknowledged = len(old)
	for i, record := range records {
		if l.Append(record) != nil {
			return acknowledged, false
		}
		acknowledged++
		if i%3 == 2 && l.Settle() != nil {
			return acknowledged, false
		}
	}
	return acknowledged, l.Close() == nil
}

func history() []Record {
	all := samples()
	return []Record{all[0], all[4], all[4], all[4], all[5], all[4]}
}

// mustHold checks that a ledger can be read and has at least what was acknowledged, and nothing
// else than what was appended.
func mustHold(t *testing.T, image []byte, acknowledged int, when string) {
	t.Helper()
	_, records, err := Open(&memory{data: slices.Clone(image)}, failpoint.Never)
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	if len(records) < acknowledged || show(t, records) != show(t, history()[:len(records)]) {
		t.Fatalf("%s: %d records, %d of which were acknowledged:\n%s", when, len(records), acknowledged, show(t, records))
	}
}

func TestAPowerLossBetweenAnyTwoCallsLosesNothingAcknowledged(t *testing.T) {
	for _, ahead := range []int64{0, 1024} {
		for left := afterBegin; ; left++ {
			k := started(nil, left)
			acknowledged, done := process(k, ahead, history())
			if done {
				break
			}
			for i, image := range k.images() {
				mustHold(t, image, acknowledged, fmt.Sprintf("%d bytes ahead, call %d, image %d", ahead, left, i))
			}
		}
	}
}

func TestAPowerLossDuringTheNextStartLosesNothingAcknowledged(t *testing.T) {
	for left := afterBegin; ; left++ {
		first := started(nil, left)
		acknowledged, done := process(first, 1024, history())
		if done {
			break
		}
		for i, image := range first.images() {
			for again := 1; ; again++ {
				second := started(image, again)
				known, done := process(second, 1024, nil)
				if done {
					break
				}
				for j, found := range second.images() {
					mustHold(t, found, max(acknowledged, known), fmt.Sprintf("call %d, image %d, then call %d, image %d", left, i, again, j))
				}
			}
		}
	}
}

// After a failed sync the kernel reports as written what the disk does not have; the next process
// reads that, and then the power fails.
func TestAPowerLossAfterAFailedSyncLosesNothingAcknowledged(t *testing.T) {
	for left := afterBegin; ; left++ {
		first := started(nil, left)
		first.failing = true
		acknowledged, done := process(first, 1024, history())
		if done && first.left > 0 {
			break
		}
		if done {
			continue // that call was not a sync
		}
		for i, image := range first.images() {
			for again := 1; ; again++ {
				second := &kernel{durable: slices.Clone(image), current: slices.Clone(first.current), dirty: map[int]bool{}, left: again}
				known, done := process(second, 1024, nil)
				if done {
					break
				}
				for j, found := range second.images() {
					mustHold(t, found, max(acknowledged, known), fmt.Sprintf("call %d, image %d, then call %d, image %d", left, i, again, j))
				}
			}
		}
	}
}

func TestAStepIsCommittedWithOneSync(t *testing.T) {
	k := started(nil, 0)
	l, _, err := Open(k, failpoint.Never)
	if err != nil {
		t.Fatal(err)
	}
	l.WriteAhead(4096)
	for i := range 3 {
		before := k.left
		if err := l.Append(samples()[4]); err != nil {
			t.Fatal(err)
		}
		want := 3 // slot of the record before, record, sync
		if i == 0 {
			want = 2
		}
		if calls := before - k.left; calls != want || len(k.dirty) != 0 {
			t.Fatalf("commit %d took %d calls and left %d sectors to be written; want %d and none", i, calls, len(k.dirty), want)
		}
	}
	if got := slices.Clone(k.durable[len(k.durable)-2:]); string(got) != "\n\n" || len(k.durable)%4096 != 0 {
		t.Fatalf("the file of %d bytes ends with %q: nothing was written ahead", len(k.durable), got)
	}
	if err := l.Close(); err != nil || int64(len(k.durable)) != l.Bytes() {
		t.Fatalf("after a clean stop it has %d bytes, of which %d are records (%v)", len(k.durable), l.Bytes(), err)
	}
	mustNameAll(t, k.durable)
}

// mustNameAll checks that a slot names all records.
func mustNameAll(t *testing.T, content []byte) {
	t.Helper()
	committed, _ := newest(content)
	if committed == nil || committed.Bytes != int64(len(content)) {
		t.Fatalf("the newest slot is %+v; the file has %d bytes", committed, len(content))
	}
}

// Until a slot names the last step, damage to its record cannot be told from a write that was cut
// off; docs/reference/ledger.md says so.
func TestDamageToTheLastStepIsFoundOnceASlotNamesIt(t *testing.T) {
	file := written(t, samples()[:4]...)
	l, _, err := Open(file, failpoint.Never)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Append(samples()[4]); err != nil {
		t.Fatal(err)
	}
	flipped := copied(file)
	flipped.data[len(flipped.data)-9] ^= 1
	if _, records, err := Open(flipped, failpoint.Never); err != nil || len(records) != 4 {
		t.Fatal(len(records), err)
	}
	if err := l.Settle(); err != nil {
		t.Fatal(err)
	}
	flipped = copied(file)
	flipped.data[len(flipped.data)-9] ^= 1
	var damaged *DamagedError
	if _, _, err := Open(flipped, failpoint.Never); !errors.As(err, &damaged) || damaged.Record != 4 {
		t.Fatal(err)
	}
}
