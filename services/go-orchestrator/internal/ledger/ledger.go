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

// Open reads a ledger whole, as OpenStreamed does: for one that is known to be small.
func Open(file File, hit failpoint.Hit) (*Ledger, []Record, error) {
	l, past, err := OpenStreamed(file, hit)
	if err != nil || past == nil {
		return l, nil, err
	}
	var records []Record
	err = past.Each(func(record Record) error {
		records = append(records, record)
		return nil
	})
	return l, records, err
}

// OpenStreamed checks a ledger, and starts a new one where the file is empty. Its records are nil
// where there are none yet. hit is called at the ledger's failpoints.
//
// Complete records after those that a slot names are taken over: they may have been acknowledged.
// What follows is truncated: line feeds that were written ahead, or a record that was being written
// when the process died.
func OpenStreamed(file File, hit failpoint.Hit) (*Ledger, Records, error) {
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
	slots := make([]byte, recordsFrom)
	if _, err := file.ReadAt(slots, 0); err != nil {
		return nil, nil, fmt.Errorf("read the ledger: %w", err)
	}
	committed, other := newest(slots)
	if committed == nil {
		return nil, nil, &DamagedError{0, 0, "neither of its first two lines is a valid commit slot"}
	}
	if committed.Bytes > size {
		return nil, nil, &DamagedError{committed.Records, size,
			fmt.Sprintf("%d bytes are committed, but the file has only %d: it was truncated", committed.Bytes, size)}
	}
	if err := l.replay(size, committed); err != nil {
		return nil, nil, err
	}
	if l.ends = l.last.Bytes; l.ends < size {
		if err := file.Truncate(l.ends); err != nil {
			return nil, nil, fmt.Errorf("cut off what a crash left in the ledger: %w", err)
		}
	}
	if err := l.takeOver(committed.Bytes); err != nil {
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
	if l.last.Records == 0 {
		return l, nil, nil
	}
	return l, inFile{file, l.last.Bytes}, nil
}

// takeOver makes records durable that an earlier process has written but may not have synced,
// before a slot names them. They are written again, because after a failed sync the kernel takes
// them for synced: a further sync would do nothing.
func (l *Ledger) takeOver(at int64) error {
	lines := make([]byte, l.last.Bytes-at)
	if len(lines) == 0 {
		return nil
	}
	if _, err := l.file.ReadAt(lines, at); err != nil {
		return fmt.Errorf("read the ledger: %w", err)
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

// replay checks the chain of all records, and leaves l after the last complete one.
func (l *Ledger) replay(size int64, committed *slot) error {
	lines := linesOf(l.file, recordsFrom, size)
	for l.last.Bytes < size {
		acknowledged := l.last.Bytes < committed.Bytes
		chain, length, err := readLine(lines, l.last.Chain, acknowledged)
		if acknowledged && err == nil && l.last.Bytes+length > committed.Bytes {
			err = errors.New("the commit slot ends inside of it")
		}
		if err != nil {
			if acknowledged {
				return &DamagedError{l.last.Records, l.last.Bytes, err.Error()}
			}
			break
		}
		l.last.Chain = chain
		l.last.Bytes += length
		l.last.Records++
		if l.last.Bytes == committed.Bytes && (l.last.Records != committed.Records || chain != committed.Chain) {
			return &DamagedError{l.last.Records - 1, l.last.Bytes,
				"the last committed record is not the one that the commit slot names"}
		}
	}
	if l.last.Bytes < committed.Bytes {
		return &DamagedError{l.last.Records, l.last.Bytes,
			fmt.Sprintf("%d records are committed, but only %d can be read", committed.Records, l.last.Records)}
	}
	return nil
}

// readLine reads a line and checks its chain hash. What it says is looked at where that decides
// whether it is taken over; otherwise whoever visits the records finds out.
func readLine(lines *lines, previous protocol.Hash, acknowledged bool) (chain protocol.Hash, length int64, err error) {
	line, err := lines.next()
	if err != nil {
		return chain, 0, err
	}
	body, err := bodyOf(line)
	if err != nil {
		return chain, 0, err
	}
	chain = link(previous, body)
	if written := line[len(beforeChain) : len(beforeChain)+64]; string(written) != chain.String() {
		return chain, 0, errors.New("its bytes do not match the chain of hashes")
	}
	if !acknowledged {
		_, err = decode(body)
	}
	return chain, int64(len(line)), err
}

// bodyOf returns what a line records.
func bodyOf(line []byte) ([]byte, error) {
	if len(line) < bodyFrom+len(afterBody) || !bytes.HasPrefix(line, []byte(beforeChain)) ||
		string(line[bodyFrom-len(beforeRecord):bodyFrom]) != beforeRecord || !bytes.HasSuffix(line, []byte(afterBody)) {
		return nil, errors.New("the line is not a record")
	}
	return line[bodyFrom : len(line)-len(afterBody)], nil
}

func link(previous protocol.Hash, body []byte) protocol.Hash {
	sum := sha256.New()
	sum.Write(previous[:])
	sum.Write(body)
	return protocol.Hash(sum.Sum(nil))
}
