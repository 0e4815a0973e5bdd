// Package failpoint kills the process at a named point, so that a test can look at what a crash
// leaves behind.
package failpoint

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// Variable of the environment that names the point.
const Variable = "PANGEA_CRASH_AT"

// Point is a place in the code where a crash is of interest.
type Point string

// The points of the process that a test may choose.
const (
	// Nothing of the records is written.
	LedgerBeforeAppend Point = "ledger.before-append"
	// They are written, and not yet synced.
	LedgerAfterAppend Point = "ledger.after-append"
	// They are on the disk: committed, and no commit slot names them.
	LedgerAfterSync Point = "ledger.after-sync"
	// The next thing to happen is that a slot names what is committed.
	LedgerBeforeSlot Point = "ledger.before-slot"
	// The slot is written, and not yet synced.
	LedgerAfterSlot Point = "ledger.after-slot"
	// They are committed, and nobody has been told.
	LedgerAfterCommit Point = "ledger.after-commit"
	// Contributions are added up, and the event loop does not know it yet.
	SumAfter Point = "sum.after"
	// A step is committed, and those who were sent its sum before do not know it.
	StreamBeforeFinal Point = "stream.before-final"
	// A step is committed, and nobody has its sum.
	StepBeforeSend Point = "step.before-send"
	// The sum is queued for those who asked for it.
	StepAfterSend Point = "step.after-send"
	// A checkpoint is on the disk under a temporary name.
	CheckpointBeforeRename Point = "checkpoint.before-rename"
	// It has its name, and the ledger does not name it.
	CheckpointAfterRename Point = "checkpoint.after-rename"
)

var points = []Point{
	LedgerBeforeAppend, LedgerAfterAppend, LedgerAfterSync, LedgerBeforeSlot, LedgerAfterSlot, LedgerAfterCommit,
	SumAfter, StreamBeforeFinal, StepBeforeSend, StepAfterSend, CheckpointBeforeRename, CheckpointAfterRename,
}

// Hit is called where the process comes to a point. It returns, unless this is where the process
// has to die.
type Hit func(point Point)

// Never is the Hit of a process that no test has asked to die.
func Never(Point) {}

// Parse reads "POINT:N" and gives a Hit that kills the process, as kill -9 does, the N-th time that
// it comes to that point. An empty text gives Never.
func Parse(text string) (Hit, error) {
	if text == "" {
		return Never, nil
	}
	name, count, _ := strings.Cut(text, ":")
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 {
		return nil, fmt.Errorf("%s is %q; it must be POINT:N with N at least 1", Variable, text)
	}
	for _, point := range points {
		if string(point) == name {
			return killAt(point, int64(n)), nil
		}
	}
	return nil, fmt.Errorf("%s names the point %q; there are %s", Variable, name, names())
}

func killAt(point Point, n int64) Hit {
	var hits atomic.Int64
	return func(at Point) {
		if at == point && hits.Add(1) == n {
			_ = syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
			select {} // the signal is on its way
		}
	}
}

func names() string {
	all := make([]string, len(points))
	for i, point := range points {
		all[i] = string(point)
	}
	return strings.Join(all, ", ")
}
