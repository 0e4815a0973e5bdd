package simulation

import (
	"encoding/json"
	"os"
	"runtime"
	"strings"
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

func TestHistoriesAreWhatTheyWere(t *testing.T) {
	// A change that is not meant to change what the orchestrator decides leaves the file as it is; any
	// other replaces it, and says so.
	if runtime.GOARCH != "amd64" {
		t.Skip("other processors may fuse the floating-point operations that say when a worker is late")
	}
	want, err := os.ReadFile("testdata/decisions.txt")
	if err != nil {
		t.Fatal(err)
	}
	digests, err := DigestOf(0, 1_000)
	if err != nil {
		t.Fatal(err)
	}
	if got := digests.Decisions.String(); got != strings.TrimSpace(string(want)) {
		t.Fatalf("the histories of the seeds 0 to 999 have the digest %s, not that of testdata/decisions.txt: "+
			"the orchestrator decides something differently; find out what with simulate --digest", got)
	}
}

func TestAStrangerThatJoinsFirstWouldBeNoticed(t *testing.T) {
	for seed := range uint64(5) {
		if history := Simulate(seed, UncheckedName, nil); len(history.Violations) == 0 {
			t.Errorf("seed %d: a stranger joined under the name of a worker, and nothing was noticed", seed)
		}
	}
}
