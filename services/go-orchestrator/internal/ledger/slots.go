package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// The file begins with two slots that say how much of it is committed. They are written
// alternately, each within one sector of the disk, so that a crash can spoil at most the one that
// was being written.
const (
	slotBytes   = 512
	recordsFrom = 2 * slotBytes
)

// slot says what is committed.
type slot struct {
	Slot    int           `json:"slot"`
	Records uint64        `json:"records"`
	Bytes   int64         `json:"bytes"` // of the file, up to and with the last record
	Chain   protocol.Hash `json:"chain"` // of the last record
	Check   protocol.Hash `json:"check"`
}

func (s slot) check() protocol.Hash {
	return sha256.Sum256(fmt.Appendf(nil, "%d %d %s", s.Records, s.Bytes, s.Chain))
}

// line returns the slot's line, padded to its size.
func (s slot) line() []byte {
	s.Check = s.check()
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // numbers and hashes can always be encoded
	}
	return append(append(text, bytes.Repeat([]byte(" "), max(0, slotBytes-1-len(text)))...), '\n')
}

// readSlot returns nil for one that is not valid. A size that no ledger can have is refused:
// the check keeps no secret, so that anybody can write a slot that passes it.
func readSlot(line []byte, number int) *slot {
	var s slot
	if json.Unmarshal(line, &s) != nil || s.Slot != number || s.Bytes < recordsFrom || s.Check != s.check() ||
		!bytes.Equal(line, s.line()) {
		return nil
	}
	return &s
}
