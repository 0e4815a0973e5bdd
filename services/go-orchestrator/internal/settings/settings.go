// Package settings reads the command line.
package settings

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/bits"
	"path/filepath"

	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// Settings of the process.
type Settings struct {
	Listen, HTTP     string // host:port; port 0 takes a free one
	RunDir, RunID    string
	Run              protocol.Settings
	PortFile         string // "" writes none
	LogFormat        string // json or text
	ExitWhenFinished bool
	MaxMemoryBytes   int64 // of gradients, snapshots and frames that arrive
	MaxConnections   int
}

// Parse reads the arguments after the program's name. The error says what to change; flag.ErrHelp means that help was printed to output.
func Parse(arguments []string, output io.Writer) (Settings, error) {
	var s Settings
	var shards, batchSize, epochs uint
	flags := flag.NewFlagSet("go-orchestrator", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // errors are printed by the caller, once
	flags.StringVar(&s.Listen, "listen", "127.0.0.1:8080", "address for workers")
	flags.StringVar(&s.HTTP, "http", "127.0.0.1:8081", "address of /healthz, /readyz, /metrics and /status")
	flags.StringVar(&s.RunDir, "run-dir", "", "folder for run.json and metrics.jsonl (required)")
	flags.StringVar(&s.RunID, "run-id", "", "name of the run (default: the name of the run directory)")
	flags.Uint64Var(&s.Run.Seed, "seed", 0, "seed of sample order, initial parameters and all randomness")
	flags.UintVar(&shards, "shards", 8, "micro-batches of a step, a power of two")
	flags.UintVar(&batchSize, "batch-size", 64, "samples of a step, over all shards")
	flags.UintVar(&epochs, "epochs", 1, "passes over the data")
	flags.StringVar(&s.PortFile, "port-file", "", "file that gets the addresses as JSON once the service is ready")
	flags.StringVar(&s.LogFormat, "log-format", "json", "json or text")
	flags.BoolVar(&s.ExitWhenFinished, "exit-when-finished", false, "exit once the run is finished and all workers have left")
	flags.Int64Var(&s.MaxMemoryBytes, "max-memory-bytes", 4<<30, "memory that gradients, snapshots and arriving frames may take")
	flags.IntVar(&s.MaxConnections, "max-connections", 1024, "most workers at a time")
	if err := flags.Parse(arguments); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(output, "go-orchestrator leads one training run: it leases shards to workers and adds their gradients.")
			flags.SetOutput(output)
			flags.PrintDefaults()
		}
		return s, err
	}
	if flags.NArg() > 0 {
		return s, fmt.Errorf("unexpected argument %q; all settings are flags (see --help)", flags.Arg(0))
	}
	switch {
	case s.RunDir == "":
		return s, errors.New("--run-dir is missing; name a folder for the files of the run")
	case shards < 1 || shards > protocol.MaxShards || bits.OnesCount(shards) != 1:
		return s, fmt.Errorf("--shards is %d; it must be a power of two from 1 to %d", shards, protocol.MaxShards)
	case batchSize < 1 || batchSize > protocol.MaxBatchSize:
		return s, fmt.Errorf("--batch-size is %d; it must be from 1 to %d", batchSize, protocol.MaxBatchSize)
	case epochs < 1 || epochs > 1<<31:
		return s, fmt.Errorf("--epochs is %d; it must be from 1 to %d", epochs, uint(1<<31))
	case s.LogFormat != "json" && s.LogFormat != "text":
		return s, fmt.Errorf("--log-format is %q; it must be json or text", s.LogFormat)
	case s.MaxMemoryBytes < 1<<20:
		return s, fmt.Errorf("--max-memory-bytes is %d; it must be at least %d", s.MaxMemoryBytes, 1<<20)
	case s.MaxConnections < 1:
		return s, fmt.Errorf("--max-connections is %d; it must be at least 1", s.MaxConnections)
	}
	s.Run.Shards, s.Run.BatchSize, s.Run.Epochs = uint32(shards), uint32(batchSize), uint32(epochs)
	if s.RunID == "" {
		s.RunID = filepath.Base(filepath.Clean(s.RunDir))
	}
	return s, nil
}
