// Package ledger keeps the record of a run: an append-only file of JSON lines, chained by hashes,
// in which a commit is on the disk before anything that depends on it leaves the process.
// docs/reference/ledger.md describes the format.
package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"pangea.example/pangea/services/go-orchestrator/internal/failpoint"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// File is what a ledger is kept in: *os.File and a Size.
type File interface {
	io.ReaderAt
	io.WriterAt
	Size() (int64, error)
	Truncate(size int64) error
	Sync() error
}

// Ledger is open for appending. It is not safe for use by several goroutines.
type Ledger struct {
	file    File
	hit     failpoint.Hit
	last    slot
	commits int
	broken  error
}

// DamagedError is the error of Open for a file that is not what was committed.
type DamagedError struct {
	Record uint64 // number of the first record that is wrong
	Offset int64  // byte where it starts, or should
	Reason string
}

// Error names record, byte and reason.
func (d *DamagedError) Error() string {
	return fmt.Sprintf(
		"the ledger is damaged at record %d (byte %d): %s; put back a good copy of the run directory, or start a new run",
		d.Record, d.Offset, d.Reason)
}

// The fixed places in a line: {"chain":"<64 digits>","record":<body>}
const (
	beforeChain  = `{"chain":"`
	beforeRecord = `","record":`
	bodyFrom     = len(beforeChain) + 64 + len(beforeRecord)
	afterBody    = "}\n"
)

// Open reads a ledger, and starts a new one where the file is empty. hit is called at the ledger's
// failpoints.
//
// Complete records after the committed ones were written but not acknowledged: they are taken over.
// An incomplete record at the end was being written when the process died: it is truncated.
func Open(file File, hit failpoint.Hit) (*Ledger, []Record, error) {
	size, err := file.Size()
	if err != nil {
		return nil, nil, fmt.Errorf("look at the ledger: %w", err)
	}
	l := &Ledger{file: file, hit: hit, last: slot{Bytes: recordsFrom}}
	if size < recordsFrom {
		if size > 0 {
			if err := unfinishedStart(file, size); err != nil {
				return nil, nil, err
			}
		}
		return l, nil, l.begin()
	}
	content := make([]byte, size)
	if _, err := file.ReadAt(content, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, fmt.Errorf("read the ledger: %w", err)
	}
	committed := newest(content)
	if committed == nil {
		return nil, nil, &DamagedError{0, 0, "neither of its first two lines is a valid commit slot"}
	}
	if committed.Bytes > size {
		return nil, nil, &DamagedError{committed.Records, size,
			fmt.Sprintf("%d bytes are committed, but the file has only %d: it was truncated", committed.Bytes, size)}
	}
	records, err := l.replay(content, committed)
	if err != nil {
		return nil, nil, err
	}
	if l.last.Bytes < size {
		if err := file.Truncate(l.last.Bytes); err != nil {
			return nil, nil, fmt.Errorf("cut off what a crash left in the ledger: %w", err)
		}
	}
	if err := l.takeOver(content[committed.Bytes:l.last.Bytes], committed.Bytes); err != nil {
		return nil, nil, err
	}
	// Both slots must name what is taken over, the older one first: until then the other may be the
	// only valid one.
	l.commits = committed.Slot + 1
	for range 2 {
		if err := l.commit(); err != nil {
			return nil, nil, err
		}
	}
	return l, records, nil
}

// takeOver makes records durable that an earlier process has written but may not have synced,
// before a slot names them. They are written again, because after a failed sync the kernel takes
// them for synced: a further sync would do nothing.
func (l *Ledger) takeOver(lines []byte, at int64) error {
	if len(lines) == 0 {
		return nil
	}
	if _, err := l.file.WriteAt(lines, at); err != nil {
		return fmt.Errorf("take over what a crash left in the ledger: %w", err)
	}
	if err := l.file.Sync(); err != nil {
		return fmt.Errorf("take over what a crash left in the ledger: %w", err)
	}
	return nil
}

// unfinishedStart refuses a short file that no crash during begin can have left: that writes the
// slots in order, and nothing after a missing one.
func unfinishedStart(file File, size int64) error {
	content := make([]byte, size)
	if _, err := file.ReadAt(content, 0); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the ledger: %w", err)
	}
	empty := append(slot{Slot: 0, Bytes: recordsFrom}.line(), slot{Slot: 1, Bytes: recordsFrom}.line()...)
	if !bytes.HasPrefix(empty, content) {
		return &DamagedError{0, size, fmt.Sprintf("the file has only %d bytes: it was truncated", size)}
	}
	return nil
}

// begin writes the slots of an empty ledger.
func (l *Ledger) begin() error {
	lines := append(slot{Slot: 0, Bytes: recordsFrom}.line(), slot{Slot: 1, Bytes: recordsFrom}.line()...)
	if _, err := l.file.WriteAt(lines, 0); err != nil {
		return fmt.Errorf("start the ledger: %w", err)
	}
	if err := l.file.Sync(); err != nil {
		return fmt.Errorf("start the ledger: %w", err)
	}
	return nil
}

func newest(content []byte) *slot {
	first, second := readSlot(content[:slotBytes], 0), readSlot(content[slotBytes:recordsFrom], 1)
	if first == nil || (second != nil && second.Records > first.Records) {
		return second
	}
	return first
}

// replay checks and decodes all records, and leaves l after the last complete one.
func (l *Ledger) replay(content []byte, committed *slot) ([]Record, error) {
	var records []Record
	for l.last.Bytes < int64(len(content)) {
		acknowledged := l.last.Bytes < committed.Bytes
		record, chain, length, err := readLine(content[l.last.Bytes:], l.last.Chain)
		if err != nil {
			if acknowledged {
				return nil, &DamagedError{l.last.Records, l.last.Bytes, err.Error()}
			}
			break
		}
		l.last.Chain = chain
		l.last.Bytes += int64(length)
		l.last.Records++
		records = append(records, record)
		if l.last.Bytes == committed.Bytes && (l.last.Records != committed.Records || chain != committed.Chain) {
			return nil, &DamagedError{l.last.Records - 1, l.last.Bytes,
				"the last committed record is not the one that the commit slot names"}
		}
	}
	if l.last.Bytes < committed.Bytes {
		return nil, &DamagedError{l.last.Records, l.last.Bytes,
			fmt.Sprintf("%d records are committed, but only %d can be read", committed.Records, l.last.Records)}
	}
	return records, nil
}

// readLine parses the first line of content and checks its chain hash.
func readLine(content []byte, previous protocol.Hash) (record Record, chain protocol.Hash, length int, err error) {
	end := bytes.IndexByte(content, '\n')
	if end < 0 {
		return nil, chain, 0, errors.New("the line is not terminated")
	}
	line := content[:end+1]
	if len(line) < bodyFrom+len(afterBody) || !bytes.HasPrefix(line, []byte(beforeChain)) ||
		string(line[bodyFrom-len(beforeRecord):bodyFrom]) != beforeRecord ||
		!bytes.HasSuffix(line, []byte(afterBody)) {
		return nil, chain, 0, errors.New("the line is not a record")
	}
	body := line[bodyFrom : len(line)-len(afterBody)]
	chain = link(previous, body)
	if written := line[len(beforeChain) : len(beforeChain)+64]; string(written) != chain.String() {
		return nil, chain, 0, errors.New("its bytes do not match the chain of hashes")
	}
	record, err = decode(body)
	return record, chain, len(line), err
}

func link(previous protocol.Hash, body []byte) protocol.Hash {
	sum := sha256.New()
	sum.Write(previous[:])
	sum.Write(body)
	return protocol.Hash(sum.Sum(nil))
}

// Append commits records: when it returns without an error, they are on the disk. After an error
// nothing more can be appended, because what the disk holds is unknown; open the file again.
func (l *Ledger) Append(records ...Record) error {
	if l.broken != nil {
		return fmt.Errorf("the ledger accepts no more records after an earlier error: %w", l.broken)
	}
	if err := l.append(records); err != nil {
		l.broken = err
		return err
	}
	return nil
}

func (l *Ledger) append(records []Record) error {
	next := l.last
	var lines []byte
	for _, record := range records {
		body, err := encode(record)
		if err != nil {
			return err
		}
		next.Chain = link(next.Chain, body)
		lines = append(lines, beforeChain...)
		lines = hex.AppendEncode(lines, next.Chain[:])
		lines = append(lines, beforeRecord...)
		lines = append(lines, body...)
		lines = append(lines, afterBody...)
		next.Records++
	}
	l.hit(failpoint.LedgerBeforeAppend)
	if _, err := l.file.WriteAt(lines, l.last.Bytes); err != nil {
		return err
	}
	l.hit(failpoint.LedgerAfterAppend)
	if err := l.file.Sync(); err != nil {
		return err
	}
	l.hit(failpoint.LedgerAfterSync)
	next.Bytes += int64(len(lines))
	l.last = next
	if err := l.commit(); err != nil {
		return err
	}
	l.hit(failpoint.LedgerAfterCommit)
	return nil
}

// commit writes the next slot.
func (l *Ledger) commit() error {
	l.last.Slot = l.commits % 2
	l.commits++
	if _, err := l.file.WriteAt(l.last.line(), int64(l.last.Slot*slotBytes)); err != nil {
		return err
	}
	return l.file.Sync()
}

// Bytes is the size of the file that is committed.
func (l *Ledger) Bytes() int64 { return l.last.Bytes }
