package run

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"math/bits"
	"testing"
	"time"

	"pangea.example/pangea/schemas/tensor"
	"pangea.example/pangea/services/go-orchestrator/internal/contenthash"
	"pangea.example/pangea/services/go-orchestrator/internal/failpoint"
	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// ledgerFile is a ledger's file in memory.
type ledgerFile struct{ content []byte }

func (f *ledgerFile) ReadAt(to []byte, at int64) (int, error) {
	return bytes.NewReader(f.content).ReadAt(to, at)
}

func (f *ledgerFile) WriteAt(from []byte, at int64) (int, error) {
	if grow := int(at) + len(from) - len(f.content); grow > 0 {
		f.content = append(f.content, make([]byte, grow)...)
	}
	return copy(f.content[at:], from), nil
}

func (f *ledgerFile) Size() (int64, error)      { return int64(len(f.content)), nil }
func (f *ledgerFile) Truncate(size int64) error { f.content = f.content[:size]; return nil }
func (f *ledgerFile) Sync() error               { return nil }

// craft makes the ledger that anybody can make: records of any content, with the right hashes.
func craft(t *testing.T, bodies []byte) *ledgerFile {
	t.Helper()
	file := &ledgerFile{}
	if _, _, err := ledger.Open(file, failpoint.Never); err != nil {
		t.Fatal(err)
	}
	var chain [sha256.Size]byte
	for body := range bytes.SplitSeq(bodies, []byte("\n")) {
		chain = sha256.Sum256(append(chain[:], body...))
		file.content = append(file.content, `{"chain":"`+hex.EncodeToString(chain[:])+`","record":`+string(body)+"}\n"...)
	}
	return file
}

// bodiesOf returns the records of a ledger's file, one a line.
func bodiesOf(f *testing.F, records []ledger.Record) []byte {
	f.Helper()
	file := &ledgerFile{}
	l, _, err := ledger.Open(file, failpoint.Never)
	if err != nil {
		f.Fatal(err)
	}
	from := len(file.content)
	if err := l.Append(records...); err != nil {
		f.Fatal(err)
	}
	var bodies [][]byte
	for line := range bytes.Lines(file.content[from:]) {
		var chained struct{ Record json.RawMessage }
		if err := json.Unmarshal(line, &chained); err != nil {
			f.Fatal(err)
		}
		bodies = append(bodies, chained.Record)
	}
	return bytes.Join(bodies, []byte("\n"))
}

// finishedRun is the ledger of a run of one worker, up to and with its end.
func finishedRun() []ledger.Record {
	b := newBench(&testing.T{})
	b.join(1)
	b.advance(1, 3)
	return b.committed
}

// A ledger from elsewhere is refused, or is a run that continues; whatever that writes can be
// resumed again.
func FuzzResume(f *testing.F) {
	whole := finishedRun()
	f.Add(bodiesOf(f, whole))
	f.Add(bodiesOf(f, whole[:len(whole)-2]))
	f.Add(bodiesOf(f, append(whole[:len(whole)-1:len(whole)-1],
		&ledger.Checkpoint{Step: 3, File: ledger.CheckpointFile(3), Bytes: 8, ParamsHash: hashAt(3)},
		&ledger.Incident{Kind: ledger.Quarantine, Name: "w", Detail: "wrong"}, &ledger.Stop{Steps: 2, Reason: "enough"},
		&ledger.Change{Step: 3, What: "epochs", From: "1", To: "2"})))
	f.Fuzz(func(t *testing.T, bodies []byte) {
		file := craft(t, bodies)
		size := len(file.content)
		l, past, err := ledger.OpenStreamed(file, failpoint.Never)
		if err != nil || past == nil || len(file.content) != size {
			return // refused, or not whole
		}
		config := Config{RunID: "test", Settings: protocol.Settings{Seed: 1, Shards: 4, BatchSize: 8, Epochs: 1},
			MemoryBytes: 1 << 20, StragglerK: 5, TakeChanges: true, CheckpointSteps: 1}
		if begins, err := first(past); err == nil {
			if s, is := begins.(*ledger.Settings); is && possible(s) {
				config.RunID, config.Settings = s.RunID, settingsOf(s)
			}
		}
		now := time.Unix(1000, 0)
		m, effects, err := Open(config, now, Past{Records: past,
			Checkpoints: func(ledger.Checkpoint) bool { return true }})
		if err != nil {
			return
		}
		shell := &recorder{t: t, ledger: l}
		shell.carryOut(effects)
		join := testJoin()
		for _, event := range []Event{
			Tick{}, JoinRequested{Peer: 1, Request: 1, Join: join},
			WorkRequested{Peer: 1, Request: 2, Work: protocol.Work{ParametersHash: hashAt(0)}}, Tick{},
			CheckpointRequested{Reason: "fuzz"}, PeerDisconnected{Peer: 1, Reason: "fuzz"}, Tick{},
			StopRequested{Reason: "fuzz", AtOnce: true},
		} {
			now = now.Add(time.Minute)
			shell.carryOut(m.Handle(now, event))
		}
		_, past, err = ledger.OpenStreamed(file, failpoint.Never)
		if err != nil {
			t.Fatal(err)
		}
		config = m.config
		if _, _, err := Open(config, now, Past{Records: past}); err != nil {
			t.Fatalf("what the resumed run has written cannot be resumed: %v", err)
		}
	})
}

// possible says whether the command line takes these settings.
func possible(s *ledger.Settings) bool {
	return s.Shards >= 1 && s.Shards <= tensor.MaxShards && bits.OnesCount32(s.Shards) == 1 &&
		s.BatchSize >= 1 && s.BatchSize <= tensor.MaxBatchSize && s.MinShardSamples <= tensor.MaxBatchSize
}

// settingsOf are those that continue a run.
func settingsOf(s *ledger.Settings) protocol.Settings {
	method, err := contenthash.ParseMethod(s.ContentHash)
	if err != nil {
		method = contenthash.SHA256
	}
	return protocol.Settings{Seed: s.Seed, Shards: s.Shards, BatchSize: s.BatchSize, Epochs: s.Epochs,
		MinShardSamples: s.MinShardSamples, DropLast: s.DropLast, ContentHash: method}
}

// recorder writes down what a machine commits, and nothing else.
type recorder struct {
	t      *testing.T
	ledger *ledger.Ledger
}

func (r *recorder) carryOut(effects []Effect) {
	for _, effect := range effects {
		switch e := effect.(type) {
		case Commit:
			if err := r.ledger.Append(e.Records...); err != nil {
				r.t.Fatal(err)
			}
		case WriteMetrics:
			if err := json.NewEncoder(io.Discard).Encode(e.Line); err != nil {
				r.t.Fatal(err)
			}
		case WriteRecord:
			if err := json.NewEncoder(io.Discard).Encode(e.Record); err != nil {
				r.t.Fatal(err)
			}
		}
	}
}
