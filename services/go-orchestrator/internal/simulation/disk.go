package simulation

import (
	"errors"
	"io"
	"math/rand/v2"
)

// errFull is what a full disk says.
var errFull = errors.New("no space left on device")

// disk holds the ledger's file. What is not synced may be lost, wholly or in part, when the process dies.
type disk struct {
	dice    *rand.Rand
	durable []byte
	current []byte
	full    bool
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
	for int64(len(d.current)) < at+int64(len(data)) {
		d.current = append(d.current, 0)
	}
	copy(d.current[at:], data)
}

func (d *disk) Size() (int64, error) { return int64(len(d.current)), nil }

func (d *disk) Truncate(size int64) error {
	d.current = d.current[:size]
	return nil
}

func (d *disk) Sync() error {
	if d.full && d.dice.IntN(2) == 0 {
		return errFull
	}
	d.durable = append(d.durable[:0:0], d.current...)
	return nil
}

// crash loses what was not synced: writes inside of what was durable happened or did not, an appended rest is cut anywhere.
func (d *disk) crash() {
	after := append([]byte{}, d.durable...)
	const sector = 512
	for at := 0; at < min(len(d.durable), len(d.current)); at += sector {
		end := min(at+sector, len(d.durable), len(d.current))
		if d.dice.IntN(2) == 0 {
			copy(after[at:end], d.current[at:end])
		}
	}
	if len(d.current) > len(d.durable) {
		rest := d.current[len(d.durable):]
		after = append(after, rest[:d.dice.IntN(len(rest)+1)]...)
	}
	d.current = append([]byte{}, after...)
	d.durable = after
}
