package wire

import (
	"crypto/sha256"
	"fmt"
	"hash"

	"pangea.example/pangea/services/go-orchestrator/internal/budget"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// SnapshotAssembly assembles the frames of a worker's state and checks its hash.
type SnapshotAssembly struct {
	RequestID uint64

	memory         *budget.Budget
	taken          int64
	step           uint64
	parametersHash protocol.Hash
	total, filled  uint64
	blocks         [][]byte
	sum            hash.Hash
}

// NewSnapshotAssembly starts with a snapshot's first frame, which must also be given to Add. The
// snapshot's bytes count against memory.
func NewSnapshotAssembly(first Message, memory *budget.Budget) (a *SnapshotAssembly, err error) {
	defer guard(&err)
	frame, err := first.root.Snapshot()
	if err != nil {
		return nil, err
	}
	a = &SnapshotAssembly{RequestID: first.RequestID, memory: memory, step: frame.Step(), total: frame.TotalBytes(),
		sum: sha256.New()}
	a.parametersHash, err = parseHash("parametersHash", frame.ParametersHash)
	return a, err
}

// Discard releases the memory of a snapshot that will not be completed.
func (a *SnapshotAssembly) Discard() {
	a.memory.Give(a.taken)
	a.taken, a.blocks = 0, nil
}

// Add takes the next frame. After the final one it gives the snapshot. An error means that the
// message is malformed, or that there is no memory for it now (*budget.ExhaustedError).
func (a *SnapshotAssembly) Add(m Message) (snapshot *protocol.Snapshot, err error) {
	defer guard(&err)
	frame, err := m.root.Snapshot()
	if err != nil {
		return nil, err
	}
	data, err := frame.Data()
	if err != nil {
		return nil, err
	}
	switch {
	case frame.Step() != a.step || frame.TotalBytes() != a.total:
		return nil, fmt.Errorf("the frames of a snapshot are of different steps or sizes")
	case a.total == 0:
		return nil, fmt.Errorf("the snapshot is empty")
	case frame.ByteOffset() != a.filled:
		return nil, fmt.Errorf("a piece of the snapshot starts at byte %d; the next byte is %d", frame.ByteOffset(), a.filled)
	case uint64(len(data)) > a.total-a.filled:
		return nil, fmt.Errorf("the snapshot has more than its announced %d bytes", a.total)
	case len(data) == 0 && !frame.Final():
		return nil, fmt.Errorf("a piece of the snapshot is empty")
	}
	a.sum.Write(data)
	a.filled += uint64(len(data))
	if err := a.keep(data); err != nil {
		return nil, err
	}
	if !frame.Final() {
		return nil, nil
	}
	if a.filled != a.total {
		return nil, fmt.Errorf("the last frame of the snapshot is here, but only %d of %d bytes arrived", a.filled, a.total)
	}
	sent, err := parseHash("hash", frame.Hash)
	if err != nil {
		return nil, err
	}
	if got := protocol.Hash(a.sum.Sum(nil)); got != sent {
		return nil, fmt.Errorf("the snapshot's bytes have hash %s, not %s as its sender says; they were corrupted in transit",
			got.Short(), sent.Short())
	}
	memory, taken := a.memory, a.taken
	return protocol.NewSnapshot(a.step, a.parametersHash, a.blocks, a.total, sent, func() { memory.Give(taken) }), nil
}

// keep copies data into blocks of chunkBytes, each allocated when bytes for it arrive; small pieces
// double the last one.
func (a *SnapshotAssembly) keep(data []byte) error {
	for len(data) > 0 {
		last := len(a.blocks) - 1
		if last < 0 || len(a.blocks[last]) == chunkBytes {
			a.blocks = append(a.blocks, nil)
			last++
		}
		block := a.blocks[last]
		part := data[:min(len(data), chunkBytes-len(block))]
		if need := len(block) + len(part); need > cap(block) {
			size := min(chunkBytes, max(need, 2*cap(block), 64<<10))
			if err := a.memory.Take(int64(size - cap(block))); err != nil {
				return err
			}
			a.taken += int64(size - cap(block))
			block = append(make([]byte, 0, size), block...)
		}
		a.blocks[last] = append(block, part...)
		data = data[len(part):]
	}
	return nil
}
