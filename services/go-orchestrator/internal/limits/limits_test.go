package limits

import "testing"

func TestConnectionsLeaveDescriptorsToTheRest(t *testing.T) {
	for _, test := range []struct {
		asked       int
		descriptors uint64
		connections int // 0 for an error
	}{
		{1024, 65536, 1024},
		{1024, 1024, 1024 - otherDescriptors},
		{1024, otherDescriptors + 1, 1},
		{1024, otherDescriptors, 0},
		{1, 1<<64 - 1, 1},
	} {
		got, err := connections(test.asked, test.descriptors)
		if got != test.connections || (err != nil) != (test.connections == 0) {
			t.Errorf("%+v: %d, %v", test, got, err)
		}
	}
}

func TestTheHeapHasWhatIsNotMapped(t *testing.T) {
	const budget = 4 << 30
	for mapped, want := range map[int64]int64{0: budget, 1 << 30: 3 << 30, budget: budget / 8, 2 * budget: budget / 8} {
		if got := heap(budget, mapped); got != want+budget/16+margin {
			t.Errorf("%d bytes are mapped: the heap may have %d", mapped, got)
		}
	}
	// Together they stay within the budget and a fifth of it.
	if most := heap(budget, 0); most > budget+budget/5 {
		t.Errorf("the heap may have %d", most)
	}
}
