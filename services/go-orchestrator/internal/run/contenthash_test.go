package run

import (
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/contenthash"
	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/vector"
)

func openWith(method contenthash.Method, records ...ledger.Record) (*Machine, []Effect, error) {
	settings := protocol.Settings{Seed: 1, Shards: 4, BatchSize: 8, Epochs: 1, ContentHash: method}
	past := Past{}
	if len(records) > 0 {
		past.Records = ledger.List(records)
	}
	return Open(Config{RunID: "test", Settings: settings, DefaultCut: true, MemoryBytes: 1 << 20, StragglerK: 5},
		time.Unix(1000, 0), past)
}

func TestARunHashesAsItBegan(t *testing.T) {
	began := func(format int, name string) *ledger.Settings {
		return &ledger.Settings{Format: format, RunID: "test", Seed: 1, Shards: 4, BatchSize: 8, Epochs: 1, ContentHash: name}
	}
	for _, test := range []struct {
		scenario string
		was      *ledger.Settings
		release  contenthash.Method // of new runs of this program
		want     contenthash.Method
	}{
		{"format 1", began(1, ""), contenthash.XXH3Tree, contenthash.SHA256},
		{"format 2", began(2, ""), contenthash.XXH3Tree, contenthash.SHA256},
		{"format 3", began(3, "xxh3Tree"), contenthash.XXH3Tree, contenthash.XXH3Tree},
		{"another default", began(3, "xxh3Tree"), contenthash.SHA256, contenthash.XXH3Tree},
	} {
		t.Run(test.scenario, func(t *testing.T) {
			m, _, err := openWith(test.release, test.was, &ledger.Start{})
			if err != nil {
				t.Fatal(err)
			}
			if got := m.config.Settings.ContentHash; got != test.want || m.Record().ContentHash != test.want.String() {
				t.Fatalf("%s, and %s in run.json; want %s", got, m.Record().ContentHash, test.want)
			}
		})
	}
	if _, _, err := openWith(contenthash.XXH3Tree, began(3, "blake3"), &ledger.Start{}); err == nil ||
		!strings.Contains(err.Error(), `the content hash "blake3" is unknown`) {
		t.Fatalf("a method of a later release: %v", err)
	}
}

func TestANewRunRecordsHowItHashes(t *testing.T) {
	_, effects, err := openWith(contenthash.XXH3Tree)
	if err != nil {
		t.Fatal(err)
	}
	settings := effects[0].(Commit).Records[0].(*ledger.Settings)
	if settings.Format != 3 || settings.ContentHash != "xxh3Tree" {
		t.Fatalf("%+v", settings)
	}
}

// A worker brings both hashes, because it learns only from the reply which one the run uses.
func TestTheRunTakesTheHashOfItsMethod(t *testing.T) {
	sums := vector.Bytes([]float32{10, 10, 10})
	for method, want := range map[contenthash.Method]protocol.Hash{
		contenthash.SHA256:   sha256.Sum256(sums),
		contenthash.XXH3Tree: contenthash.XXH3Tree.Of(sums),
	} {
		t.Run(method.String(), func(t *testing.T) {
			b := newBench(t)
			b.machine.config.Settings.ContentHash = method
			join := testJoin()
			join.ParametersHash, join.ParametersContentHash = protocol.Hash{1}, protocol.Hash{2}
			b.handle(JoinRequested{Peer: 1, Join: join})
			if reply := one[protocol.Joined](b, 1); reply.Settings.ContentHash != method {
				t.Fatalf("the worker was told to hash by %s", reply.Settings.ContentHash)
			}
			agreed, _ := b.machine.agreement.reference(0)
			if agreed != join.HashBy(method) || agreed == (protocol.Hash{}) {
				t.Fatalf("the run has the parameters %s", agreed)
			}
			b.handle(WorkRequested{Peer: 1, Work: protocol.Work{ParametersHash: agreed}})
			one[protocol.Lease](b, 1)
			for shard, value := range []float32{1, 2, 3, 4} {
				b.handle(UpdateReceived{Peer: 1, Update: b.update(0, uint32(shard), 1, value)})
				one[protocol.Ack](b, 1)
			}
			if got := b.machine.agreement.history[0].aggregate; got != want {
				t.Fatalf("the aggregate has hash %s; want %s", got, want)
			}
		})
	}
}
