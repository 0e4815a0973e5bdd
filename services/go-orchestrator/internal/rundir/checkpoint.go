package rundir

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"pangea.example/pangea/services/go-orchestrator/internal/budget"
	"pangea.example/pangea/services/go-orchestrator/internal/failpoint"
	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// The folder of the checkpoints in a run directory.
const checkpoints = "checkpoints"

// Bytes of a checkpoint that are held in one piece of memory.
const blockBytes = 4 << 20

// note is the JSON file next to a checkpoint, for people and for `pangea export`.
type note struct {
	Format     int           `json:"format"`
	RunID      string        `json:"run_id"`
	Step       uint64        `json:"step"`
	Epoch      uint32        `json:"epoch"`
	EpochStep  uint32        `json:"epoch_step"`
	ParamsHash protocol.Hash `json:"params_hash"`
	SHA256     protocol.Hash `json:"sha256"`
	Bytes      uint64        `json:"bytes"`
}

// SaveCheckpoint writes a worker's state: complete under its name, or not at all. It may be called
// concurrently with the other methods.
func (d *Dir) SaveCheckpoint(runID string, s *protocol.Snapshot, epoch, epochStep uint32) (ledger.Checkpoint, error) {
	c := ledger.Checkpoint{Step: s.Step, File: ledger.CheckpointFile(s.Step), Bytes: s.TotalBytes, SHA256: s.Hash,
		ParamsHash: s.ParametersHash}
	if err := d.root.Mkdir(checkpoints, folderMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return c, err
	}
	text, err := json.MarshalIndent(note{1, runID, s.Step, epoch, epochStep, s.ParametersHash, s.Hash, s.TotalBytes}, "",
		"  ")
	if err != nil {
		return c, err
	}
	if err := writeFile(d.root, noteOf(c.File), append(text, '\n')); err != nil {
		return c, err
	}
	err = replace(d.root, c.File, fileMode, func() { d.hit(failpoint.CheckpointBeforeRename) },
		func(file *os.File) error {
			for _, block := range s.Blocks {
				if _, err := file.Write(block); err != nil {
					return err
				}
			}
			return nil
		})
	if err == nil {
		d.hit(failpoint.CheckpointAfterRename)
	}
	return c, err
}

// LoadCheckpoint reads a checkpoint back. Its bytes count against memory until the snapshot is
// released. A file that differs from what was written is refused.
func (d *Dir) LoadCheckpoint(c ledger.Checkpoint, memory *budget.Budget) (*protocol.Snapshot, error) {
	file, err := d.openCheckpoint(c)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := memory.Take(int64(c.Bytes)); err != nil {
		return nil, err
	}
	blocks, err := readBlocks(file, c)
	if err != nil {
		memory.Give(int64(c.Bytes))
		return nil, fmt.Errorf("%s: %w", c.File, err)
	}
	return protocol.NewSnapshot(c.Step, c.ParamsHash, blocks, c.Bytes, c.SHA256, func() { memory.Give(int64(c.Bytes)) }),
		nil
}

func readBlocks(file io.Reader, c ledger.Checkpoint) ([][]byte, error) {
	var blocks [][]byte
	sum := sha256.New()
	for left := c.Bytes; left > 0; {
		block := make([]byte, min(left, blockBytes))
		if _, err := io.ReadFull(file, block); err != nil {
			return nil, fmt.Errorf("it is damaged: it has fewer than %d bytes (%w)", c.Bytes, err)
		}
		sum.Write(block)
		blocks = append(blocks, block)
		left -= uint64(len(block))
	}
	if n, _ := file.Read(make([]byte, 1)); n != 0 {
		return nil, fmt.Errorf("it is damaged: it has more than %d bytes", c.Bytes)
	}
	if got := protocol.Hash(sum.Sum(nil)); got != c.SHA256 {
		return nil, fmt.Errorf("it is damaged: its bytes have hash %s, not %s as the ledger says", got.Short(),
			c.SHA256.Short())
	}
	return blocks, nil
}

// openCheckpoint opens a checkpoint whose file has the size that the ledger says.
func (d *Dir) openCheckpoint(c ledger.Checkpoint) (*os.File, error) {
	if err := checkName(c); err != nil {
		return nil, err
	}
	file, err := openOwn(d.root, c.File, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && (info.Size() < 0 || uint64(info.Size()) != c.Bytes) {
		err = fmt.Errorf("%s: it is damaged: it has %d bytes, not %d as the ledger says", c.File, info.Size(), c.Bytes)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// hasCheckpoint reports whether the file of a checkpoint is there.
func (d *Dir) hasCheckpoint(c ledger.Checkpoint) bool {
	if checkName(c) != nil {
		return false
	}
	info, err := d.root.Lstat(c.File)
	return err == nil && info.Mode().IsRegular()
}

// RemoveCheckpoint deletes a checkpoint, and the note next to it.
func (d *Dir) RemoveCheckpoint(c ledger.Checkpoint) error {
	if err := checkName(c); err != nil {
		return err
	}
	for _, name := range []string{c.File, noteOf(c.File)} {
		if err := d.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// noteOf is the name of the note next to a checkpoint.
func noteOf(file string) string { return strings.TrimSuffix(file, ".safetensors") + ".json" }

// checkName refuses a file that no checkpoint of the step can have: a ledger that somebody has made
// up must not name other files, to be read by workers or deleted.
func checkName(c ledger.Checkpoint) error {
	if c.File != ledger.CheckpointFile(c.Step) {
		return fmt.Errorf("the ledger names %.100q as the checkpoint of step %d; it must be %s", c.File, c.Step,
			ledger.CheckpointFile(c.Step))
	}
	return nil
}
