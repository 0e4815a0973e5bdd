package ledger

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Records of a run's past, in their order. They are visited and never all in memory: a run writes
// one for each step, for as long as it lasts.
type Records interface {
	// Each calls visit with each record, or with those of some kinds only, until one returns an error,
	// which is then that of Each. It may be called as often as needed.
	Each(visit func(Record) error, kinds ...string) error
}

// ChangeKind is the kind of a Change.
const ChangeKind = "change"

// List is Records that are in memory.
type List []Record

// Each implements Records.
func (l List) Each(visit func(Record) error, kinds ...string) error {
	for _, record := range l {
		if len(kinds) > 0 && !slices.Contains(kinds, record.kind()) {
			continue
		}
		if err := visit(record); err != nil {
			return err
		}
	}
	return nil
}

// inFile is Records in a file: what Open found between recordsFrom and end. Their chain was checked
// then.
type inFile struct {
	file io.ReaderAt
	end  int64
}

// Each implements Records.
func (h inFile) Each(visit func(Record) error, kinds ...string) error {
	lines := linesOf(h.file, recordsFrom, h.end)
	for number := uint64(0); ; number++ {
		at := lines.at
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the ledger: %w", err)
		}
		body, err := bodyOf(line)
		if err != nil {
			return &DamagedError{number, at, err.Error()}
		}
		if !isOf(body, kinds) {
			continue
		}
		record, err := decode(body)
		if err != nil {
			return &DamagedError{number, at, err.Error()}
		}
		if err := visit(record); err != nil {
			return err
		}
	}
}

// isOf reports whether a body is that of a record of one of the kinds. All bodies begin with their
// type, because encode writes them.
func isOf(body []byte, kinds []string) bool {
	return len(kinds) == 0 || slices.ContainsFunc(kinds, func(kind string) bool {
		return bytes.HasPrefix(body, []byte(`{"type":"`+kind+`"`))
	})
}

// maxLineBytes is more than any record has: that of a model has all names of its parameters.
const maxLineBytes = 256 << 20

// lines reads a part of a file line by line.
type lines struct {
	reader *bufio.Reader
	at     int64 // where the next one starts
	whole  []byte
}

func linesOf(file io.ReaderAt, from, to int64) *lines {
	return &lines{reader: bufio.NewReaderSize(io.NewSectionReader(file, from, to-from), 256<<10), at: from}
}

// next returns a line with its end, which is valid until the next call. The error is io.EOF at the
// end of the part.
func (l *lines) next() ([]byte, error) {
	l.whole = l.whole[:0]
	for {
		part, err := l.reader.ReadSlice('\n')
		switch {
		case err == nil && len(l.whole) == 0:
			l.at += int64(len(part))
			return part, nil
		case errors.Is(err, io.EOF) && len(l.whole)+len(part) > 0:
			return nil, errUnterminated
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
		if l.whole = append(l.whole, part...); len(l.whole) > maxLineBytes {
			return nil, fmt.Errorf("the line is longer than %d bytes", maxLineBytes)
		}
		if err == nil {
			l.at += int64(len(l.whole))
			return l.whole, nil
		}
	}
}

var errUnterminated = errors.New("the line is not terminated")
