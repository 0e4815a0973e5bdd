package clock

import (
	"testing"
	"time"
)

func TestAManualClockWakesWhoIsDue(t *testing.T) {
	start := time.Unix(1000, 0)
	c := NewManual(start)
	due := func(wake <-chan time.Time) bool {
		select {
		case at := <-wake:
			if !at.Equal(c.Now()) {
				t.Fatalf("woken with %v at %v", at, c.Now())
			}
			return true
		default:
			return false
		}
	}
	atOnce, second, third := c.After(0), c.After(2*time.Second), c.After(3*time.Second)
	if !due(atOnce) || due(second) {
		t.Fatal("only what is due at once may be woken before the clock moves")
	}
	c.Advance(2 * time.Second)
	if !due(second) || due(third) {
		t.Fatal("after two seconds the second is due, and the third is not")
	}
	c.Advance(time.Hour)
	if !due(third) || due(second) {
		t.Fatal("after an hour the third is due, and the second was woken before")
	}
	if passed := c.Now().Sub(start); passed != time.Hour+2*time.Second {
		t.Fatalf("%v passed", passed)
	}
}
