package failpoint

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func TestOnlyTheNamedHitKills(t *testing.T) {
	if at := os.Getenv(Variable); at != "" {
		hit, err := Parse(at)
		if err != nil {
			t.Fatal(err)
		}
		hit(LedgerAfterSync)
		hit(LedgerAfterAppend)
		os.Stdout.WriteString("once")
		hit(LedgerAfterAppend)
		os.Stdout.WriteString("twice")
		return
	}
	child := exec.Command(os.Args[0], "-test.run=TestOnlyTheNamedHitKills")
	child.Env = append(os.Environ(), Variable+"=ledger.after-append:2")
	printed, err := child.Output()
	if string(printed) != "once" {
		t.Fatalf("printed %q (%v)", printed, err)
	}
	if status := child.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
		t.Fatalf("ended with %v", child.ProcessState)
	}
}

func TestBadPointsAreRefused(t *testing.T) {
	for _, text := range []string{"nowhere:1", "ledger.after-append", "ledger.after-append:0", "ledger.after-append:x"} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), Variable) {
			t.Errorf("%s: %v", text, err)
		}
	}
	hit, err := Parse("")
	if err != nil {
		t.Fatal(err)
	}
	hit(LedgerAfterAppend) // and nothing happens
}
