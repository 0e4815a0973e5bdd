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
