package run

import "testing"

func TestShardsThatAreLateAreLeasedAgainAndCounted(t *testing.T) {
	b := newBench(t)
	b.join(1)
	b.join(2)
	b.ask(1, 0)
	b.wantShards(1, 0, 1)
	b.ask(2, 0)
	b.wantShards(2, 2, 3)
	b.submit(1, b.update(0, 0, 2, 1))
	b.ask(1, 0)
	if b.machine.Status().SecondLeases != 0 {
		t.Fatal("nothing is late yet")
	}
	// Many times as long as the first worker took.
	for tick := 0; tick < 100 && len(b.replies[1]) == 0; tick++ {
		b.handle(Tick{})
	}
	b.wantShards(1, 2, 3)
	if counted := b.machine.Status().SecondLeases; counted != 2 {
		t.Fatalf("%d shards were leased a second time; want 2", counted)
	}
}
