package ledger

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pangea.example/pangea/services/go-orchestrator/internal/failpoint"
)

// watched notes what is done to a file, and tears the write of a slot of that number.
type watched struct {
	*memory
	done  []string
	slots int
	tear  int
}

func (w *watched) WriteAt(data []byte, at int64) (int, error) {
	w.done = append(w.done, fmt.Sprintf("write %d bytes at %d", len(data), at))
	if at < recordsFrom {
		w.slots++
		if w.slots == w.tear {
			copy(w.data[at:], strings.Repeat("?", len(data)))
			return 0, errors.New("torn")
		}
	}
	return w.memory.WriteAt(data, at)
}

func (w *watched) Sync() error {
	w.done = append(w.done, "sync")
	return w.memory.Sync()
}

// After a failed sync the kernel holds records that the disk does not, and reports that there is
// nothing left to write.
func TestRecordsTakenOverAreDurableBeforeASlotNamesThem(t *testing.T) {
	before, after := written(t, samples()[:4]...), written(t, samples()[:5]...)
	committed := len(before.data)
	torn := copied(before)
	torn.data = append(torn.data, after.data[committed:]...)
	file := &watched{memory: torn}
	if _, records, err := Open(file, failpoint.Never); err != nil || len(records) != 5 {
		t.Fatal(len(records), err)
	}
	want := []string{fmt.Sprintf("write %d bytes at %d", len(after.data)-committed, committed), "sync"}
	if !slices.Equal(file.done[:2], want) || !strings.HasPrefix(file.done[2],
		fmt.Sprintf("write %d bytes at ", slotBytes)) {
		t.Fatalf("done was %q; want first %q", file.done, want)
	}
}

// One slot is spoilt by a crash, and the next process dies while it writes a slot.
func TestASecondCrashWhileSlotsAreRepairedLosesNothing(t *testing.T) {
	for count := 3; count <= 4; count++ { // the newest slot is the one, then the other
		for spoilt := range 2 {
			for tear := 1; tear <= 2; tear++ {
				file := &watched{memory: written(t, samples()[:count]...), tear: tear}
				copy(file.data[spoilt*slotBytes:], strings.Repeat("?", slotBytes))
				if _, _, err := Open(file, failpoint.Never); err == nil {
					t.Fatal("a torn write is not an error")
				}
				file.tear = 0
				if _, records, err := Open(file, failpoint.Never); err != nil || len(records) != count {
					t.Fatalf("slot %d spoilt, then write %d of a slot torn: %d of %d records, %v", spoilt, tear, len(records), count,
						err)
				}
			}
		}
	}
}
