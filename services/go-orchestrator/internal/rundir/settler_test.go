package rundir

import (
	"bytes"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/clock"
	"pangea.example/pangea/services/go-orchestrator/internal/failpoint"
	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
)

// asked is a clock that reports who waits for it.
type asked struct {
	*clock.Manual
	waiting chan time.Duration
}

func (a *asked) After(pause time.Duration) <-chan time.Time {
	wake := a.Manual.After(pause)
	a.waiting <- pause
	return wake
}

func TestTheSlotOfAStepIsWrittenOnceTheLedgerIsIdle(t *testing.T) {
	var slots atomic.Int64
	written := make(chan struct{}, 16)
	hit := func(point failpoint.Point) {
		if point == failpoint.LedgerAfterSlot {
			slots.Add(1)
			written <- struct{}{}
		}
	}
	hands := &asked{clock.NewManual(time.Unix(0, 0)), make(chan time.Duration)}
	path := t.TempDir()
	d, _, err := Open(path, hands, hit)
	if err != nil {
		t.Fatal(err)
	}
	step := func() {
		t.Helper()
		if err := d.Commit([]ledger.Record{&ledger.Step{}}); err != nil {
			t.Fatal(err)
		}
	}
	step()
	<-hands.waiting
	step() // within the time: its slot has to wait, and it brings that of the first step
	hands.Advance(settleAfter)
	<-hands.waiting
	if slots.Load() != 0 {
		t.Fatal("a slot was synced apart from a commit, while another commit followed")
	}
	hands.Advance(settleAfter)
	<-written
	step()
	<-hands.waiting
	if err := d.Close(); err != nil || slots.Load() != 2 {
		t.Fatalf("%d slots were written apart from a commit; want that of the second step and, at the end, of the third (%v)",
			slots.Load(), err)
	}
	content, err := os.ReadFile(filepath.Join(path, ledger.Name))
	if err != nil || bytes.HasSuffix(content, []byte("\n\n")) {
		t.Fatalf("line feeds that were written ahead are left after a clean stop (%v)", err)
	}
}
