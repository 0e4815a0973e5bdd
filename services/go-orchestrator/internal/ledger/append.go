package ledger

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"

	"pangea.example/pangea/services/go-orchestrator/internal/failpoint"
)

// Append commits records: when it returns without an error, they are on the disk. After an error
// nothing more can be appended, because what the disk holds is unknown; open the file again.
//
// A step costs one sync: its record is durable, and Settle or the next Append writes the slot that
// names it. Until then Open takes it over as it does whatever is complete.
func (l *Ledger) Append(records ...Record) error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.unlessBroken(func() error { return l.append(records) })
}

// Settle names what is committed in a slot, if none does yet. It may be called beside the other
// methods; its error is also that of the next Append.
func (l *Ledger) Settle() error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.unlessBroken(l.settle)
}

// Close settles, and cuts off the line feeds that were written ahead. The ledger is not used any
// more.
func (l *Ledger) Close() error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.broken != nil {
		return nil // as it was reported; the next Open finds out what the disk holds
	}
	if err := l.settle(); err != nil || l.ends == l.last.Bytes {
		return err
	}
	if err := l.file.Truncate(l.last.Bytes); err != nil {
		return err
	}
	return l.file.Sync()
}

// WriteAhead lets the file grow by this many line feeds at a time, before records replace them: a
// sync of bytes that the file already has need not wait for its metadata.
func (l *Ledger) WriteAhead(size int64) { l.ahead = size }

// Bytes is the size of the file that is committed.
func (l *Ledger) Bytes() int64 { return l.last.Bytes }

func (l *Ledger) unlessBroken(do func() error) error {
	if l.broken != nil {
		return fmt.Errorf("the ledger accepts no more records after an earlier error: %w", l.broken)
	}
	l.broken = do()
	return l.broken
}

func (l *Ledger) append(records []Record) error {
	lines, next, err := l.chained(records)
	if err != nil {
		return err
	}
	l.hit(failpoint.LedgerBeforeAppend)
	if !l.named {
		// What it names is on the disk already, so it does not matter which of the two gets there first.
		if err := l.writeSlot(); err != nil {
			return err
		}
	}
	if err := l.writeLines(lines); err != nil {
		return err
	}
	l.hit(failpoint.LedgerAfterAppend)
	if err := l.file.Sync(); err != nil {
		return err
	}
	l.hit(failpoint.LedgerAfterSync)
	l.last, l.named = next, false
	// All but steps are too rare for a sync to matter.
	if slices.ContainsFunc(records, func(record Record) bool { _, is := record.(*Step); return !is }) {
		if err := l.settle(); err != nil {
			return err
		}
	}
	l.hit(failpoint.LedgerAfterCommit)
	return nil
}

// chained returns the lines of records, and what is committed once they are.
func (l *Ledger) chained(records []Record) (lines []byte, next slot, err error) {
	next = l.last
	for _, record := range records {
		body, err := encode(record)
		if err != nil {
			return nil, next, err
		}
		next.Chain = link(next.Chain, body)
		lines = append(lines, beforeChain...)
		lines = hex.AppendEncode(lines, next.Chain[:])
		lines = append(lines, beforeRecord...)
		lines = append(lines, body...)
		lines = append(lines, afterBody...)
		next.Records++
	}
	next.Bytes += int64(len(lines))
	return lines, next, nil
}

// writeLines writes lines after the last committed one, and line feeds ahead of the next ones if
// these need them.
func (l *Ledger) writeLines(lines []byte) error {
	end := l.last.Bytes + int64(len(lines))
	if end > l.ends {
		l.ends = end
		if l.ahead > 0 {
			l.ends = (end/l.ahead + 1) * l.ahead
			lines = append(lines, bytes.Repeat([]byte("\n"), int(l.ends-end))...)
		}
	}
	_, err := l.file.WriteAt(lines, l.last.Bytes)
	return err
}

// settle writes the slot that names what is committed, and waits until it is on the disk.
func (l *Ledger) settle() error {
	if l.named {
		return nil
	}
	l.hit(failpoint.LedgerBeforeSlot)
	if err := l.writeSlot(); err != nil {
		return err
	}
	l.hit(failpoint.LedgerAfterSlot)
	return l.file.Sync()
}

// writeSlot writes the next slot: it names what is committed.
func (l *Ledger) writeSlot() error {
	l.last.Slot = l.slots % 2
	l.slots++
	l.named = true
	_, err := l.file.WriteAt(l.last.line(), int64(l.last.Slot*slotBytes))
	return err
}
