package run

import (
	"encoding/json"
	"os"
	"testing"
	"time"
)

// TestLatenessKeepsTheRule reads the cases that the worker's tests read too.
func TestLatenessKeepsTheRule(t *testing.T) {
	content, err := os.ReadFile("../../../../libraries/lateness/testdata/cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Scenario    string
		Observed    []float64
		MinLateness float64 `json:"min_lateness"`
		Deviations  float64
		LateAfter   float64 `json:"late_after"`
	}
	if err := json.Unmarshal(content, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) == 0 {
		t.Fatal("no cases")
	}
	duration := func(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }
	for _, test := range cases {
		t.Run(test.Scenario, func(t *testing.T) {
			if duration(test.MinLateness) != leastLateness {
				t.Fatalf("the case is for a minimum of %v s; ours is %v", test.MinLateness, leastLateness)
			}
			var l lateness
			for _, seconds := range test.Observed {
				l.add(duration(seconds), 1)
			}
			limit := duration(test.LateAfter)
			if l.late(limit-time.Millisecond, 1, test.Deviations) || !l.late(limit+time.Millisecond, 1, test.Deviations) {
				t.Errorf("not late exactly from %v on", limit)
			}
		})
	}
}
