package simulation

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
)

// The errors of a full disk and of a failing one.
var (
	errFull = errors.New("no space left on device")
	errSync = errors.New("input/output error")
)

const sector = 512

// disk holds the ledger's file as a kernel does: a process writes to memory, which outlives it;
// only a sync makes it durable, so that a loss of power leaves it. A sync that fails forgets what
// was to be written: the next one succeeds without it.
type disk struct {
	dice    *rand.Rand
	durable []byte
	current []byte
	dirty   map[int]bool // sectors that are to be written at the next sync
	full    bool         // nothing can be written
	failing bool         // syncs fail
	lying   bool         // sabotage: syncs report success, and do nothing
}

func (d *disk) ReadAt(to []byte, at int64) (int, error) {
	n := copy(to, d.current[min(at, int64(len(d.current))):])
	if n < len(to) {
		return n, io.EOF
	}
	return n, nil
}

func (d *disk) WriteAt(data []byte, at int64) (int, error) {
	if d.full {
		// A part may have been written before the space ran out.
		n := d.dice.IntN(len(data))
		d.put(data[:n], at)
		return n, errFull
	}
	d.put(data, at)
	return len(data), nil
}

func (d *disk) put(data []byte, at int64) {
	d.current = extended(d.current, int(at)+len(data))
	copy(d.current[at:], data)
	for i := int(at) / sector; i*sector < int(at)+len(data); i++ {
		d.dirty[i] = true
	}
}

func extended(data []byte, size int) []byte {
	return append(data, make([]byte, max(0, size-len(data)))...)
}

func (d *disk) Size() (int64, error) { return int64(len(d.current)), nil }

func (d *disk) Truncate(size int64) error {
	d.current = d.current[:size]
	return nil
}

func (d *disk) Sync() error {
	switch {
	case d.lying:
		return nil
	case d.failing:
		d.flushSome()
		return errSync
	}
	for i := range d.dirty {
		d.flush(i, sector)
	}
	d.durable = extended(d.durable, len(d.current))[:len(d.current)]
	clear(d.dirty)
	return nil
}

// flush makes the first bytes of a sector durable.
func (d *disk) flush(i, size int) {
	from, to := i*sector, min(i*sector+size, len(d.current))
	if from < to {
		d.durable = extended(d.durable, to)
		copy(d.durable[from:to], d.current[from:to])
	}
}

// flushSome makes some of what is to be written durable, or a part of it, in any order, and forgets
// the rest.
func (d *disk) flushSome() {
	for _, i := range slices.Sorted(maps.Keys(d.dirty)) {
		switch d.dice.IntN(4) {
		case 0:
			d.flush(i, d.dice.IntN(sector))
		case 1, 2:
			d.flush(i, sector)
		}
	}
	clear(d.dirty)
	if len(d.durable) > len(d.current) && d.dice.IntN(2) == 0 {
		d.durable = d.durable[:len(d.current)]
	}
}

// losePower leaves what is durable.
func (d *disk) losePower() {
	d.flushSome()
	d.current = slices.Clone(d.durable)
}

// head gives the chain hash of the record that ends at a byte of the file.
func (d *disk) head(end int64) string {
	const from = len(`{"chain":"`)
	line := d.current[:end-1]
	line = line[bytes.LastIndexByte(line, '\n')+1:]
	return string(line[from : from+64])
}
