// Package settings reads the command line.
package settings

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/bits"
	"os"
	"path/filepath"
	"time"
	"unicode/utf8"

	"pangea.example/pangea/schemas/tensor"
	"pangea.example/pangea/services/go-orchestrator/internal/contenthash"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// Variables that stand for flags.
const (
	IdentityVariable = "PANGEA_IDENTITY"
	insecureVariable = "PANGEA_INSECURE"
)

// Settings are those of the process.
type Settings struct {
	Listen, HTTP     string // host:port; port 0 takes a free one
	Socket           string // path of a Unix socket for workers on this machine; "" for none
	Identity         string // directory; "" for none
	Insecure         bool   // without an identity, other machines may be listened to
	RunDir, RunID    string
	Run              protocol.Settings // with the content hash of a new run
	DefaultCut       bool              // --min-shard-samples is not given: Run has its default
	PortFile         string            // "" writes none
	LogFormat        string            // json or text
	ExitWhenFinished bool
	MaxMemoryBytes   int64 // for gradients, snapshots and arriving frames
	MaxSharedBytes   int64 // of workers' memory that is mapped
	MaxConnections   int
	CheckpointSteps  uint64        // 0 for none
	CheckpointEvery  time.Duration // 0 for none
	KeepCheckpoints  int
	VerifyFraction   float64
	StragglerK       float64
	Strict           bool
	TakeChanges      bool
}

// Parse reads the arguments after the program's name. The error says what to change; flag.ErrHelp
// means that help, or the release, was printed to output, as the arguments ask.
func Parse(arguments []string, output io.Writer, release string) (Settings, error) {
	var s Settings
	var shards, batchSize, epochs, minShardSamples uint
	var checkpointSeconds float64
	var version bool
	insecure, err := switched(insecureVariable)
	if err != nil {
		return s, err
	}
	flags := flag.NewFlagSet("go-orchestrator", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // errors are printed by the caller, once
	flags.StringVar(&s.Listen, "listen", "127.0.0.1:8080", "address for workers")
	flags.StringVar(&s.Socket, "socket", "", "path of a Unix socket for workers of the same user on this machine, "+
		"which share memory through it (default: none)")
	flags.StringVar(&s.HTTP, "http", "127.0.0.1:8081", "address of /healthz, /readyz, /metrics and /status")
	flags.StringVar(&s.Identity, "identity", os.Getenv(IdentityVariable), "directory with this process's certificate, its "+
		"key and the run's authority (pangea certs), for connections over TLS (default: $PANGEA_IDENTITY)")
	flags.BoolVar(&s.Insecure, "insecure", insecure, "without an identity, let everybody in who "+
		"reaches a port, without encryption (default: whether $PANGEA_INSECURE is 1)")
	flags.StringVar(&s.RunDir, "run-dir", "", "directory for the ledger, run.json, metrics.jsonl and checkpoints; "+
		"a run that is already in it continues (required)")
	flags.StringVar(&s.RunID, "run-id", "", "name of the run (default: the name of the run directory)")
	flags.Uint64Var(&s.Run.Seed, "seed", 0, "seed of sample order, initial parameters and all randomness")
	flags.UintVar(&shards, "shards", 8, "micro-batches of a step, a power of two")
	flags.UintVar(&batchSize, "batch-size", 64, "samples of a step, over all shards")
	flags.UintVar(&epochs, "epochs", 10, "passes over the data")
	flags.UintVar(&minShardSamples, "min-shard-samples", 2,
		"shards of a small step are merged until each has at least this many samples; 0 merges none")
	flags.BoolVar(&s.Run.DropLast, "drop-last", false,
		"leave out the samples at the end of an epoch that do not fill a step")
	flags.StringVar(&s.PortFile, "port-file", "", "file to write the addresses to, as JSON, once the service is ready")
	flags.StringVar(&s.LogFormat, "log-format", "json", "json or text")
	flags.BoolVar(&s.ExitWhenFinished, "exit-when-finished", false,
		"exit once the run is finished and all workers have left")
	flags.Int64Var(&s.MaxMemoryBytes, "max-memory-bytes", 4<<30,
		"memory limit for gradients, snapshots and arriving frames")
	flags.Int64Var(&s.MaxSharedBytes, "max-shared-bytes", 64<<30,
		"memory limit for what workers share with --socket, which is theirs; beyond it they send their gradients")
	flags.IntVar(&s.MaxConnections, "max-connections", 1024, "maximum number of connections; half of them from one address, a quarter that have not joined")
	flags.Uint64Var(&s.CheckpointSteps, "checkpoint-steps", 0, "steps between two checkpoints; 0 for none")
	flags.Float64Var(&checkpointSeconds, "checkpoint-seconds", 30, "seconds between two checkpoints; 0 for none")
	flags.IntVar(&s.KeepCheckpoints, "keep-checkpoints", 3, "number of newest checkpoints to keep")
	flags.Float64Var(&s.VerifyFraction, "verify-fraction", 0,
		"share of the shards that two workers compute and whose bits are compared, 0 to 1")
	flags.Float64Var(&s.StragglerK, "straggler-k", 5,
		"a shard is late, and leased a second time, after median + k * MAD of the others")
	flags.BoolVar(&s.Strict, "strict", true, "end the run when the same bits can no longer be promised")
	flags.BoolVar(&s.TakeChanges, "take-changes", false,
		"accept a training (optimizer, rates) that differs from the run's, and continue after a script has ended it early")
	flags.BoolVar(&version, "version", false, "print the release and exit")
	if err := flags.Parse(arguments); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(output,
				"go-orchestrator coordinates one training run: it leases shards to workers and adds up their gradients.")
			fmt.Fprintln(output, "go-orchestrator health [ADDRESS] checks that the orchestrator whose --http is ADDRESS "+
				"(default 127.0.0.1:8081) is alive.")
			flags.SetOutput(output)
			flags.PrintDefaults()
		}
		return s, err
	}
	if version {
		fmt.Fprintln(output, "go-orchestrator", release)
		return s, flag.ErrHelp
	}
	if flags.NArg() > 0 {
		return s, fmt.Errorf("unexpected argument %q; all settings are flags (see --help)", flags.Arg(0))
	}
	switch {
	case s.RunDir == "":
		return s, errors.New("--run-dir is missing; name a directory for the files of the run")
	case shards < 1 || shards > uint(tensor.MaxShards) || bits.OnesCount(shards) != 1:
		return s, fmt.Errorf("--shards is %d; it must be a power of two from 1 to %d", shards, uint(tensor.MaxShards))
	case batchSize < 1 || batchSize > uint(tensor.MaxBatchSize):
		return s, fmt.Errorf("--batch-size is %d; it must be from 1 to %d", batchSize, uint(tensor.MaxBatchSize))
	case epochs < 1 || epochs > 1<<31:
		return s, fmt.Errorf("--epochs is %d; it must be from 1 to %d", epochs, uint(1<<31))
	case minShardSamples > uint(tensor.MaxBatchSize):
		return s, fmt.Errorf("--min-shard-samples is %d; it must be from 0 to %d", minShardSamples, uint(tensor.MaxBatchSize))
	case s.LogFormat != "json" && s.LogFormat != "text":
		return s, fmt.Errorf("--log-format is %q; it must be json or text", s.LogFormat)
	case s.MaxMemoryBytes < 1<<20:
		return s, fmt.Errorf("--max-memory-bytes is %d; it must be at least %d", s.MaxMemoryBytes, 1<<20)
	case s.MaxSharedBytes < 0:
		return s, fmt.Errorf("--max-shared-bytes is %d; it must be at least 0", s.MaxSharedBytes)
	case !(checkpointSeconds >= 0 && checkpointSeconds <= 1e9):
		return s, fmt.Errorf("--checkpoint-seconds is %v; it must be from 0 to 1e9", checkpointSeconds)
	case s.KeepCheckpoints < 1:
		return s, fmt.Errorf("--keep-checkpoints is %d; it must be at least 1", s.KeepCheckpoints)
	case !(s.VerifyFraction >= 0 && s.VerifyFraction <= 1):
		return s, fmt.Errorf("--verify-fraction is %v; it must be from 0 to 1", s.VerifyFraction)
	case !(s.StragglerK >= 0):
		return s, fmt.Errorf("--straggler-k is %v; it must be at least 0", s.StragglerK)
	case s.MaxConnections < 1:
		return s, fmt.Errorf("--max-connections is %d; it must be at least 1", s.MaxConnections)
	}
	if s.RunID == "" {
		s.RunID = filepath.Base(filepath.Clean(s.RunDir))
	}
	if len(s.RunID) > int(tensor.MaxRunIdBytes) || !utf8.ValidString(s.RunID) {
		return s, fmt.Errorf("--run-id is %.100q; it must be at most %d bytes of UTF-8", s.RunID, tensor.MaxRunIdBytes)
	}
	s.Run.Shards, s.Run.BatchSize, s.Run.Epochs, s.Run.MinShardSamples = uint32(shards), uint32(batchSize), uint32(epochs),
		uint32(minShardSamples)
	s.Run.ContentHash = contenthash.XXH3Tree
	s.DefaultCut = true
	flags.Visit(func(given *flag.Flag) { s.DefaultCut = s.DefaultCut && given.Name != "min-shard-samples" })
	s.CheckpointEvery = time.Duration(checkpointSeconds * float64(time.Second))
	return s, nil
}

// switched reads a variable that turns something on. An empty one is as good as none.
func switched(variable string) (bool, error) {
	switch value := os.Getenv(variable); value {
	case "", "0", "false":
		return false, nil
	case "1", "true":
		return true, nil
	default:
		return false, fmt.Errorf("%s is %.100q; it must be 1 or 0", variable, value)
	}
}
