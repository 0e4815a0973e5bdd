package simulation

import (
	"errors"
	"io"
	"math/rand/v2"

	"pangea.example/pangea/services/go-orchestrator/internal/failpoint"
	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
)

// Image is what the ledger's file may be when a process starts, and what the orchestrator makes of
// it; the other reader must agree.
type Image struct {
	Content []byte `json:"content"`
	Records int    `json:"records"`
	// The record and the byte at which it is damaged; nil where it is not.
	Damaged *Damage `json:"damaged"`
}

// Damage of a ledger.
type Damage struct {
	Record uint64 `json:"record"`
	Offset int64  `json:"offset"`
}

// How many copies of each image are damaged further.
const tampered = 4

// Images plays the history of a seed and returns what its processes found, and copies with a
// flipped bit or without their end.
func Images(seed uint64) []Image {
	var images []Image
	dice := rand.New(rand.NewPCG(seed, 1))
	simulate(seed, "", nil, func(content []byte) {
		images = append(images, imageOf(content))
		for i := range tampered {
			if len(content) == 0 {
				return
			}
			copied, at := append([]byte{}, content...), dice.IntN(len(content))
			if i%2 == 0 {
				copied[at] ^= 1 << dice.IntN(8)
			} else {
				copied = copied[:at]
			}
			images = append(images, imageOf(copied))
		}
	})
	return images
}

func imageOf(content []byte) Image {
	image := Image{Content: append([]byte{}, content...)}
	_, records, err := ledger.Open(&copyOf{append([]byte{}, content...)}, failpoint.Never)
	image.Records = len(records)
	if damaged, is := errors.AsType[*ledger.DamagedError](err); is {
		image.Damaged = &Damage{damaged.Record, damaged.Offset}
	}
	return image
}

// copyOf a file, which is thrown away.
type copyOf struct{ content []byte }

func (c *copyOf) ReadAt(to []byte, at int64) (int, error) {
	n := copy(to, c.content[min(at, int64(len(c.content))):])
	if n < len(to) {
		return n, io.EOF
	}
	return n, nil
}

func (c *copyOf) WriteAt(data []byte, at int64) (int, error) {
	c.content = extended(c.content, int(at)+len(data))
	return copy(c.content[at:], data), nil
}

func (c *copyOf) Size() (int64, error) { return int64(len(c.content)), nil }

func (c *copyOf) Truncate(size int64) error {
	c.content = c.content[:size]
	return nil
}

func (c *copyOf) Sync() error { return nil }
