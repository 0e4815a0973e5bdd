package run

import (
	"testing"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

func TestShardsThatAreLateAreLeasedAgainAndCounted(t *testing.T) {
	b := newBench(t)
	b.join(1)
	b.join(2)
	b.ask(1, 0)
	b.wantShards(1, 0, 1)
	b.ask(2, 0)
	b.wantShards(2, 2, 3)
	for range leastObservations {
		b.machine.step.shardTimes.add(time.Second, 1)
	}
	b.submit(1, b.update(0, 0, 2, 1))
	b.ask(1, 0)
	if b.machine.Status().SecondLeases != 0 {
		t.Fatal("nothing is late yet")
	}
	for tick := 0; tick < 100 && len(b.replies[1]) == 0; tick++ {
		b.handle(Tick{})
	}
	b.wantShards(1, 2, 3)
	if counted := b.machine.Status().SecondLeases; counted != 2 {
		t.Fatalf("%d shards were leased a second time; want 2", counted)
	}
}

// beat lets a second pass in which these workers do nothing but live.
func (b *bench) beat(peers ...Peer) {
	for _, peer := range peers {
		b.handle(PeerSeen{Peer: peer})
	}
	b.handle(Tick{})
}

// until lets time pass, in which these workers do nothing but live, and gives how many seconds it
// took until a peer was answered.
func (b *bench) until(answered Peer, limit int, hung ...Peer) int {
	b.t.Helper()
	from := b.now
	for len(b.replies[answered]) == 0 {
		if b.now.Sub(from) > time.Duration(limit)*time.Second {
			b.t.Fatalf("peer %d was not answered within %d s", answered, limit)
		}
		b.beat(hung...)
	}
	return int(b.now.Sub(from).Seconds())
}

// Whoever takes over what is late can hang, too: the next one is asked, each after a longer wait.
func TestWorkersThatHangOneAfterTheOtherAreAllOvertaken(t *testing.T) {
	b := newBench(t)
	for peer := Peer(1); peer <= 4; peer++ {
		b.join(peer)
	}
	// One of them took so long that nobody counts as hanging in this test.
	b.machine.step.shardTimes.add(30*time.Second, 1)
	for range leastObservations {
		b.machine.step.shardTimes.add(time.Second, 1)
	}
	// Each has one shard; the first hangs with its own, the second and the third with that of the
	// first.
	for peer := Peer(1); peer <= 4; peer++ {
		b.ask(peer, 0)
		b.wantShards(peer, uint32(peer-1))
	}
	for peer := Peer(2); peer <= 4; peer++ {
		b.submit(peer, b.update(0, uint32(peer-1), 1, 1))
	}
	var waits []int
	for peer := Peer(2); peer <= 4; peer++ {
		b.ask(peer, 0)
		waits = append(waits, b.until(peer, 30))
		b.wantShards(peer, 0)
	}
	if waits[1] < waits[0] || waits[2] < waits[1] || b.machine.Status().SecondLeases != 3 {
		t.Fatalf("waits of %v s, %d further leases", waits, b.machine.Status().SecondLeases)
	}
	b.submit(4, b.update(0, 0, 1, 1))
	b.ask(4, 0)
	one[*protocol.Aggregate](b, 4)
}

// The first worker that ever computes something hangs: there is nothing to compare with, and it is
// overtaken all the same.
func TestAFirstWorkerThatHangsIsOvertaken(t *testing.T) {
	b := newBench(t)
	b.join(1)
	b.ask(1, 0)
	b.wantShards(1, 0, 1, 2, 3)
	b.join(2)
	b.ask(2, 0)
	b.until(2, 20, 1)
	b.wantShards(2, 0, 1, 2, 3)
}
