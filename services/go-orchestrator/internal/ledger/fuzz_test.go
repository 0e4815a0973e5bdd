package ledger

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"pangea.example/pangea/services/go-orchestrator/internal/failpoint"
)

// A file that can be opened gives the same records when it is opened again, and takes more.
func FuzzLedgerOpen(f *testing.F) {
	file := &memory{}
	l, _, err := Open(file, failpoint.Never)
	if err != nil || l.Append(samples()...) != nil {
		f.Fatal(err)
	}
	f.Add(slices.Clone(file.data))
	f.Add(slices.Clone(file.data[:recordsFrom+10]))
	f.Add([]byte{})
	if err := l.Append(samples()...); err != nil {
		f.Fatal(err)
	}
	f.Add(slices.Clone(file.data))
	f.Fuzz(func(t *testing.T, data []byte) {
		file := &memory{data: slices.Clone(data)}
		l, past, err := OpenStreamed(file, failpoint.Never)
		if err != nil {
			return
		}
		count := 0
		visit := func(Record) error { count++; return nil }
		if past != nil {
			var damaged *DamagedError
			if err := past.Each(visit); err != nil {
				if !errors.As(err, &damaged) {
					t.Fatal(err)
				}
				return
			}
		}
		before := count
		if err := l.Append(&Start{Step: 1}); err != nil {
			t.Fatal(err)
		}
		_, again, err := OpenStreamed(file, failpoint.Never)
		if err != nil {
			t.Fatal(err)
		}
		count = 0
		if err := again.Each(visit); err != nil || count != before+1 {
			t.Fatalf("%d records became %d: %v", before, count, err)
		}
	})
}

// A slot has one valid form, and sizes that a file can have.
func FuzzSlots(f *testing.F) {
	f.Add(slot{Bytes: recordsFrom}.line(), 0)
	f.Add(slot{Slot: 1, Records: 7, Bytes: 5000}.line(), 1)
	f.Add(slot{Bytes: -5}.line(), 0)
	f.Fuzz(func(t *testing.T, line []byte, number int) {
		s := readSlot(line, number)
		if s == nil {
			return
		}
		if len(line) != slotBytes || !bytes.Equal(line, s.line()) || s.Slot != number || s.Bytes < recordsFrom {
			t.Fatalf("%q is taken for %+v", line, *s)
		}
	})
}

// What a record says is written down again as it was read.
func FuzzRecords(f *testing.F) {
	for _, record := range samples() {
		body, err := encode(record)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		record, err := decode(body)
		if err != nil {
			return
		}
		written, err := encode(record)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decode(written)
		if err != nil {
			t.Fatalf("%s cannot be read: %v", written, err)
		}
		if rewritten, err := encode(again); err != nil || !bytes.Equal(written, rewritten) {
			t.Fatalf("%s became %s: %v", written, rewritten, err)
		}
	})
}
