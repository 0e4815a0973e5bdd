package run

import (
	"slices"
	"testing"
	"time"
)

func TestTheMedianOfAnEvenNumberIsTheUpperOfTheTwoInTheMiddle(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{7}, 7}, {[]float64{2, 1}, 2}, {[]float64{3, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 3},
	} {
		if got := median(slices.Clone(test.values)); got != test.want {
			t.Errorf("the median of %v is %v; want %v", test.values, got, test.want)
		}
	}
}

func TestLateIsMedianAndDeviations(t *testing.T) {
	var l lateness
	for seconds := range 8 { // median 5 s, distances 5 4 3 2 1 0 1 2: MAD 2 s
		l.add(time.Duration(seconds+1)*time.Second, 1)
	}
	for _, test := range []struct {
		elapsed time.Duration
		pieces  int
		late    bool
	}{
		{15 * time.Second, 1, false}, {15*time.Second + time.Millisecond, 1, true},
		{30 * time.Second, 2, false}, {30*time.Second + time.Millisecond, 2, true},
	} {
		if l.late(test.elapsed, test.pieces, 5) != test.late {
			t.Errorf("%d pieces after %v: late is %v", test.pieces, test.elapsed, !test.late)
		}
	}
}
