package server

import (
	"testing"
	"time"
)

func TestAnAllowanceIsForSomeAtOnceAndMoreWithTime(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := spent{allowance: refusedRequests}
	for i := range 64 {
		if !s.take(now) {
			t.Fatalf("refusal %d is beyond the limit", i+1)
		}
	}
	now = now.Add(time.Second)
	for i := range 4 {
		if !s.take(now) {
			t.Fatalf("after a second, refusal %d is beyond the limit", i+1)
		}
	}
	if s.exceeded() || s.take(now) || !s.exceeded() {
		t.Fatal("there is no limit")
	}
	if s.take(now.Add(time.Hour)) {
		t.Fatal("a connection that is to be closed is answered again")
	}
}
