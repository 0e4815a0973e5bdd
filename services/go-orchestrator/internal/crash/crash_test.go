package crash

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func TestOnlyTheNamedPassingKills(t *testing.T) {
	if at := os.Getenv(Variable); at != "" {
		pass, err := Parse(at)
		if err != nil {
			t.Fatal(err)
		}
		pass("ledger.after-sync")
		pass("ledger.after-append")
		os.Stdout.WriteString("once")
		pass("ledger.after-append")
		os.Stdout.WriteString("twice")
		return
	}
	child := exec.Command(os.Args[0], "-test.run=TestOnlyTheNamedPassingKills")
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
	pass, err := Parse("")
	if err != nil {
		t.Fatal(err)
	}
	pass("ledger.after-append") // and nothing happens
}
