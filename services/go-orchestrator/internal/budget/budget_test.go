package budget

import (
	"errors"
	"testing"
)

func TestTakeAndGive(t *testing.T) {
	process := New("process", 100)
	one, two := process.Child("one", 80), process.Child("two", 80)
	steps := []struct {
		scenario string
		budget   *Budget
		take     int64
		short    string // the budget that refuses; empty when it fits
	}{
		{"a child may fill itself", one, 80, ""},
		{"but not go over its own limit", one, 1, "one"},
		{"another child may take what the parent has left", two, 20, ""},
		{"and is refused by the parent, not by itself", two, 1, "process"},
		{"giving makes room again", two, -10, ""},
		{"for the same bytes", two, 10, ""},
		{"a huge number does not overflow", two, 1<<63 - 1, "two"},
	}
	for _, step := range steps {
		t.Run(step.scenario, func(t *testing.T) {
			if step.take < 0 {
				step.budget.Give(-step.take)
				return
			}
			err := step.budget.Take(step.take)
			var exhausted *ExhaustedError
			if step.short == "" {
				if err != nil {
					t.Fatal(err)
				}
			} else if !errors.As(err, &exhausted) || exhausted.Name != step.short {
				t.Fatalf("error is %v; want one of budget %s", err, step.short)
			}
		})
	}
	if process.Used() != 100 || one.Used() != 80 || two.Used() != 20 {
		t.Fatalf("used %d %d %d; want 100 80 20", process.Used(), one.Used(), two.Used())
	}
}

func TestANegativeSizeChangesNothing(t *testing.T) {
	parent := New("process", 10)
	child := parent.Child("worker", 5)
	if err := child.Take(-3); err == nil {
		t.Fatal("it was taken")
	}
	child.Give(-3)
	child.Owe(-3)
	if child.Used() != 0 || parent.Used() != 0 {
		t.Fatalf("%d and %d bytes are in use", child.Used(), parent.Used())
	}
}
