// Package ledger keeps the record of a run: an append-only file of JSON lines, chained by hashes,
// in which a commit is on the disk before anything that depends on it leaves the process.
// docs/reference/ledger.md describes the format.
package ledger

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"

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

// Ledger is open for appending. One goroutine may call Settle while another one uses the rest.
type Ledger struct {
	mutex  sync.Mutex
	file   File
	hit    failpoint.Hit
	last   slot // what is committed
	named  bool // by a slot on the disk
	slots  int  // that were written
	ahead  int64
	ends   int64 // the file, with the line feeds that are written ahead
	broken error
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
// Complete records after those that a slot names are taken over: they may have been acknowledged.
// What follows is truncated: line feeds that were written ahead, or a record that was being written
// when the process died.
func Open(file File, hit failpoint.Hit) (*Ledger, []Record, error) {
	size, err := file.Size()
	if err != nil {
		return nil, nil, fmt.Errorf("look at the ledger: %w", err)
	}
	l := &Ledger{file: file, hit: hit, last: slot{Bytes: recordsFrom}, named: true, ends: recordsFrom}
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
	committed, other := newest(content)
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
	if l.ends = l.last.Bytes; l.ends < size {
		if err := file.Truncate(l.ends); err != nil {
			return nil, nil, fmt.Errorf("cut off what a crash left in the ledger: %w", err)
		}
	}
	if err := l.takeOver(content[committed.Bytes:l.last.Bytes], committed.Bytes); err != nil {
		return nil, nil, err
	}
	// Both slots must name what is taken over. First comes one without which the ledger can be read:
	// the invalid one, or else the newest. After a sync that failed, the newest may be known to the
	// kernel alone, while the other one was on the disk before it was written.
	l.slots = committed.Slot
	if other == nil {
		l.slots++
	}
	for range 2 {
		l.named = false
		if err := l.settle(); err != nil {
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

// newest returns the valid slot that counts, and the other one if it is valid too.
func newest(content []byte) (committed, other *slot) {
	first, second := readSlot(content[:slotBytes], 0), readSlot(content[slotBytes:recordsFrom], 1)
	if first == nil || (second != nil && second.Records > first.Records) {
		return second, first
	}
	return first, second
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
