// Package crash kills the process at a named point, so that a test can look at what a crash leaves behind.
package crash

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// Variable of the environment that names the point.
const Variable = "PANGEA_CRASH_AT"

// Points of the process that a test may choose.
var known = []string{
	"ledger.before-append", "ledger.after-append", "ledger.after-sync", "ledger.after-commit",
	"step.before-send", "step.after-send", "checkpoint.before-rename", "checkpoint.after-rename",
}

// Parse reads "point:n" and gives a function that kills the process, as kill -9 does, when it is called with that point for the n-th time.
// An empty text gives a function that does nothing.
func Parse(text string) (func(point string), error) {
	if text == "" {
		return func(string) {}, nil
	}
	point, count, _ := strings.Cut(text, ":")
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 {
		return nil, fmt.Errorf("%s is %q; it must be POINT:N with N at least 1", Variable, text)
	}
	for _, name := range known {
		if name == point {
			var passed atomic.Int64
			return func(at string) {
				if at == point && passed.Add(1) == int64(n) {
					_ = syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
					select {} // the signal is on its way
				}
			}, nil
		}
	}
	return nil, fmt.Errorf("%s names the point %q; there are %s", Variable, point, strings.Join(known, ", "))
}
