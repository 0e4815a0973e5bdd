package simulation

import (
	"encoding/json"
	"testing"
)

func TestAHistoryComesFromItsSeedAlone(t *testing.T) {
	for seed := range uint64(20) {
		first, err := json.Marshal(Simulate(seed, "", nil))
		if err != nil {
			t.Fatal(err)
		}
		second, err := json.Marshal(Simulate(seed, "", nil))
		if err != nil {
			t.Fatal(err)
		}
		if string(first) != string(second) {
			t.Fatalf("seed %d gives two histories", seed)
		}
	}
}

func TestHistoriesHoldTheirPromises(t *testing.T) {
	kills, liars, caught, flipped, resynced := 0, 0, 0, 0, 0
	for seed := range uint64(330) {
		history := Simulate(seed, "", nil)
		for _, violation := range history.Violations {
			t.Errorf("seed %d: %s", seed, violation)
		}
		kills += history.Kills
		flipped += history.Flipped
		if history.Flipped > 0 && history.Resynced > 0 {
			resynced++
		}
		if seed%10 == 9 {
			liars++
			caught += history.SentAway
		}
	}
	// A run may end before its liar has sent two wrong results.
	if flipped < 20 || resynced < flipped/2 {
		t.Fatalf("%d parameters changed by themselves, and %d were found: the histories test little", flipped, resynced)
	}
	if kills < 800 || caught < liars/2 {
		t.Fatalf("%d kills, and %d of %d liars caught, in all histories: they test little", kills, caught, liars)
	}
}
