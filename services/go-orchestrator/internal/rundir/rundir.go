// Package rundir keeps the files of a run: the ledger, run.json, which is always complete,
// metrics.jsonl, which only grows, and the checkpoints.
package rundir

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"pangea.example/pangea/services/go-orchestrator/internal/clock"
	"pangea.example/pangea/services/go-orchestrator/internal/failpoint"
	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/run"
)

// Dir is the directory of one run, held by this process alone.
type Dir struct {
	path    string
	root    *os.Root // the directory; nothing outside of it is opened, whatever a file of the run says
	hit     failpoint.Hit
	disk    *ledger.Disk
	ledger  *ledger.Ledger
	clock   clock.Clock
	settler *settler
	signer  *signer // nil where the ledger is not signed
	metrics *os.File
}

// The ledger's file grows by this much at a time: the records of a hundred steps.
const ledgerPieceBytes = 256 << 10

// Open creates the directory if it does not exist, and reads what an earlier process has left in
// it. hit is called at the failpoints of its files.
func Open(path string, clock clock.Clock, hit failpoint.Hit) (dir *Dir, past run.Past, err error) {
	if err := os.MkdirAll(path, folderMode); err != nil {
		return nil, past, fmt.Errorf("cannot create the run directory: %w; choose another --run-dir", err)
	}
	d := &Dir{path: path, hit: hit, clock: clock}
	if d.root, err = os.OpenRoot(path); err != nil {
		return nil, past, fmt.Errorf("cannot open the run directory: %w; choose another --run-dir", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	file, err := openOwn(d.root, ledger.Name, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, past, fmt.Errorf("cannot open the ledger: %w; make the folder writable, or choose another --run-dir", err)
	}
	if d.disk, err = ledger.OpenDisk(file, path); err != nil {
		return nil, past, err
	}
	if d.ledger, past.Records, err = ledger.OpenStreamed(d.disk, hit); err != nil {
		return nil, past, fmt.Errorf("%s: %w", filepath.Join(path, ledger.Name), err)
	}
	if past.Records == nil {
		if err := d.mustBeNew(); err != nil {
			return nil, past, err
		}
	}
	past.Checkpoints = d.hasCheckpoint
	if past.Lines, err = d.openMetrics(); err != nil {
		return nil, past, err
	}
	d.ledger.WriteAhead(ledgerPieceBytes)
	d.settler = startSettler(d.ledger, clock)
	return d, past, nil
}

// mustBeNew refuses to start a run over the files of another one.
func (d *Dir) mustBeNew() error {
	for _, name := range []string{"run.json", "metrics.jsonl", checkpoints} {
		info, err := d.root.Lstat(name)
		if err == nil && (info.IsDir() || info.Size() > 0) {
			return fmt.Errorf("%s holds a run already (%s is there), but its ledger is empty or missing; "+
				"put the ledger back, or choose another --run-dir", d.path, name)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot read the run directory: %w", err)
		}
	}
	return nil
}

// openMetrics counts the complete lines for the steps from 0 on, and truncates what follows them:
// it is written again from the ledger.
func (d *Dir) openMetrics() (lines uint64, err error) {
	if d.metrics, err = openOwn(d.root, "metrics.jsonl", os.O_CREATE|os.O_RDWR|os.O_APPEND); err != nil {
		return 0, fmt.Errorf("cannot write into the run directory: %w", err)
	}
	lines, good, err := countLines(d.metrics)
	if err != nil {
		return 0, fmt.Errorf("cannot read metrics.jsonl: %w", err)
	}
	if err := d.metrics.Truncate(good); err != nil {
		return 0, fmt.Errorf("cannot write into the run directory: %w", err)
	}
	return lines, nil
}

// countLines reads the complete lines for the steps from 0 on, and how many bytes they have. No
// line is longer than what is read at a time.
func countLines(file io.Reader) (lines uint64, bytes int64, err error) {
	reader := bufio.NewReaderSize(file, 64<<10)
	for {
		text, err := reader.ReadSlice('\n')
		var line struct{ Step *uint64 }
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, bufio.ErrBufferFull):
			return lines, bytes, nil
		case err != nil:
			return 0, 0, err
		case json.Unmarshal(text, &line) != nil || line.Step == nil || *line.Step != lines:
			return lines, bytes, nil
		}
		lines++
		bytes += int64(len(text))
	}
}

// Commit appends to the ledger; when it returns without an error, the records are on the disk.
func (d *Dir) Commit(records []ledger.Record) error {
	err := d.ledger.Append(records...)
	d.settler.note()
	if d.signer != nil && slices.ContainsFunc(records, isCheckpoint) {
		d.signer.want()
	}
	return err
}

func isCheckpoint(record ledger.Record) bool { _, is := record.(*ledger.Checkpoint); return is }

// LedgerBytes is the size of the ledger that is committed.
func (d *Dir) LedgerBytes() int64 { return d.ledger.Bytes() }

// Append adds a line to metrics.jsonl with one write, so that a reader never sees half of one.
func (d *Dir) Append(line run.MetricsLine) error {
	text, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("encode the line of step %d: %w", line.Step, err)
	}
	_, err = d.metrics.Write(append(text, '\n'))
	return err
}

// Write replaces run.json.
func (d *Dir) Write(record run.Record) error {
	text, err := json.MarshalIndent(record, "", "  ")
	if err != nil {
		return fmt.Errorf("encode run.json: %w", err)
	}
	return writeFile(d.root, "run.json", append(text, '\n'))
}

// Close flushes what was written to the disk, and lets others open the directory.
func (d *Dir) Close() error {
	var err error
	if d.settler != nil {
		d.settler.end()
		err = d.ledger.Close()
	}
	if d.signer != nil {
		d.signer.end()
	}
	if d.metrics != nil {
		err = errors.Join(d.metrics.Sync(), d.metrics.Close())
	}
	if d.disk != nil {
		err = errors.Join(err, d.disk.Close())
	}
	return errors.Join(err, d.root.Close())
}
