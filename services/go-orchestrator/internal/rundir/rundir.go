// Package rundir writes the files of a run: run.json, always whole, and metrics.jsonl, which only grows.
package rundir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"pangea.example/pangea/services/go-orchestrator/internal/run"
)

// Dir is the directory of one run.
type Dir struct {
	path    string
	metrics *os.File
}

// Create makes the directory where it is missing. It refuses one that holds a run.
func Create(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, fmt.Errorf("cannot make the run directory: %w; choose another --run-dir", err)
	}
	for _, name := range []string{"run.json", "metrics.jsonl"} {
		if _, err := os.Stat(filepath.Join(path, name)); !errors.Is(err, fs.ErrNotExist) {
			if err != nil {
				return nil, fmt.Errorf("cannot look into the run directory: %w", err)
			}
			return nil, fmt.Errorf("%s holds a run already (%s is there); choose another --run-dir", path, name)
		}
	}
	metrics, err := os.OpenFile(filepath.Join(path, "metrics.jsonl"), os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("cannot write into the run directory: %w", err)
	}
	return &Dir{path, metrics}, nil
}

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
	return WriteFile(filepath.Join(d.path, "run.json"), append(text, '\n'))
}

// Close flushes what was written to the disk.
func (d *Dir) Close() error {
	return errors.Join(d.metrics.Sync(), d.metrics.Close())
}

// WriteFile replaces a file at once: whoever reads it, even after a crash, sees the old bytes or the new ones.
func WriteFile(path string, data []byte) error {
	folder := filepath.Dir(path)
	temporary, err := os.CreateTemp(folder, filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	_, err = temporary.Write(data)
	err = errors.Join(err, temporary.Chmod(0o644), temporary.Sync(), temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary.Name()))
	}
	parent, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}
