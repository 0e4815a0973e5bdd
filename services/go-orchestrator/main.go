// Go-orchestrator coordinates one training run: workers join it, lease shards of each step, and
// send gradient sums; it adds them in a fixed tree and gives everyone the same aggregate.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/budget"
	"pangea.example/pangea/services/go-orchestrator/internal/clock"
	"pangea.example/pangea/services/go-orchestrator/internal/endpoint"
	"pangea.example/pangea/services/go-orchestrator/internal/failpoint"
	"pangea.example/pangea/services/go-orchestrator/internal/httpapi"
	"pangea.example/pangea/services/go-orchestrator/internal/identity"
	"pangea.example/pangea/services/go-orchestrator/internal/limits"
	"pangea.example/pangea/services/go-orchestrator/internal/run"
	"pangea.example/pangea/services/go-orchestrator/internal/rundir"
	"pangea.example/pangea/services/go-orchestrator/internal/server"
	"pangea.example/pangea/services/go-orchestrator/internal/servicemanager"
	"pangea.example/pangea/services/go-orchestrator/internal/settings"
	"pangea.example/pangea/services/go-orchestrator/internal/shared"
	"pangea.example/pangea/services/go-orchestrator/internal/telemetry"
)

// release is set by the build.
var release = "unreleased"

// keepBytes is the most memory for aggregates that workers may need to catch up. While it fills,
// each step takes fresh memory from the system, which costs more than adding up what goes into it.
const keepBytes = 256 << 20

// Exit codes of the process.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "health" {
		if err := health(os.Args[2:]); err != nil {
			fail(exitFailed, err)
		}
		return
	}
	s, err := settings.Parse(os.Args[1:], os.Stdout, release)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fail(exitUsage, err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), endings()...)
	defer stop()
	if err := serve(ctx, s); err != nil {
		fail(exitFailed, err)
	}
}

// endings are the signals that ask for a last checkpoint and the end. SIGHUP is not one of them in
// a process that was started to outlive its terminal (nohup).
func endings() []os.Signal {
	signals := []os.Signal{syscall.SIGTERM, syscall.SIGINT}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

// checkpoints takes a checkpoint at each SIGUSR1, until the function that it returns is called.
func checkpoints(of *server.Server) (end func()) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	go func() {
		for range asked {
			of.Checkpoint("SIGUSR1")
		}
	}()
	return func() {
		signal.Stop(asked)
		close(asked)
	}
}

// health checks that the service at an address, by default this program's default, is alive: its
// container has no other program that could.
func health(arguments []string) error {
	address := "127.0.0.1:8081"
	if len(arguments) > 0 {
		address = arguments[0]
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	var over *tls.Config
	if dir := os.Getenv(settings.IdentityVariable); dir != "" {
		own, err := identity.Open(dir, identity.Orchestrator, clock.System{}.Now)
		if err != nil {
			return err
		}
		over = own.Client(identity.Orchestrator)
	}
	return httpapi.Alive(ctx, address, over)
}

func fail(code int, err error) {
	fmt.Fprintln(os.Stderr, "go-orchestrator:", err)
	os.Exit(code)
}

// serve runs until ctx ends or the run does.
func serve(ctx context.Context, s settings.Settings) (err error) {
	listener, err := endpoint.Listen("--listen", s.Listen)
	if err != nil {
		return err
	}
	defer listener.Close()
	pages, err := endpoint.Listen("--http", s.HTTP)
	if err != nil {
		return err
	}
	defer pages.Close()
	own, err := identify(s, listener, pages)
	if err != nil {
		return err
	}
	hit, err := failpoint.Parse(os.Getenv(failpoint.Variable))
	if err != nil {
		return err
	}
	log := telemetry.NewLogger(s.LogFormat, os.Stderr)
	warn(s, own, log)
	connections, err := limits.Connections(s.MaxConnections)
	if err != nil {
		return err
	}
	if connections < s.MaxConnections {
		log.Warn("fewer connections are accepted than --max-connections allows: the process may not have as many "+
			"descriptors; raise the limit (ulimit -n, LimitNOFILE)", "connections", connections, "asked", s.MaxConnections)
	}
	files, past, err := rundir.Open(s.RunDir, clock.System{}, hit)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, files.Close()) }()

	listeners, sharedMemory := []net.Listener{listener}, (*budget.Budget)(nil)
	if local := listenLocally(s.Socket, log); local != nil {
		defer local.Close()
		listeners = append(listeners, local)
		sharedMemory = budget.New("memory that workers share", s.MaxSharedBytes)
	}
	public, err := files.Sign(s.Identity, past.Records, func(err error) {
		log.Warn("cannot sign the ledger", "error", err.Error())
	})
	if errors.Is(err, rundir.ErrNoKey) {
		log.Warn("the ledger is no longer signed", "reason", err.Error())
	} else if err != nil {
		return err
	}
	memory := budget.New("memory of the process", s.MaxMemoryBytes)
	metrics := telemetry.NewMetrics(memory)
	workers, err := server.New(server.Config{
		Run: run.Config{
			RunID: s.RunID, PublicKey: public, Release: release,
			Settings: s.Run, DefaultCut: s.DefaultCut, MemoryBytes: memory.Limit(),
			KeepBytes:       min(memory.Limit()/4, keepBytes),
			CheckpointSteps: s.CheckpointSteps, CheckpointEvery: s.CheckpointEvery, KeepCheckpoints: s.KeepCheckpoints,
			VerifyFraction: s.VerifyFraction, StragglerK: s.StragglerK,
			Strict: s.Strict, TakeChanges: s.TakeChanges,
		},
		MaxConnections: connections, ExitWhenFinished: s.ExitWhenFinished,
		Memory: memory, Mapped: limits.HoldMemory(s.MaxMemoryBytes), Shared: sharedMemory, Files: files, Identity: own,
		Clock: clock.System{}, Log: log, Metrics: metrics, Hit: hit,
	}, past)
	if err != nil {
		return fmt.Errorf("cannot continue the run in %s: %w", s.RunDir, err)
	}
	metrics.Add(workers)
	served, guard := httpapi.Bounded(pages, httpapi.MaxConnections), httpapi.Guard(nil)
	if own != nil && endpoint.Exposed(pages) {
		served, guard = tls.NewListener(served, own.Pages()), httpapi.Members(own)
	}
	api := httpapi.New(workers, metrics.Handler(), guard)
	go func() {
		if err := api.Serve(served); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the HTTP server stopped", "error", err.Error())
		}
	}()
	log.Info("ready", "run", s.RunID, "listen", listener.Addr().String(), "http", pages.Addr().String(),
		"socket", socketOf(listeners), "run_dir", s.RunDir)
	if s.PortFile != "" {
		if err := writePorts(s.PortFile, listener, pages, socketOf(listeners)); err != nil {
			return fmt.Errorf("cannot write --port-file: %w", err)
		}
	}
	defer checkpoints(workers)()
	defer servicemanager.Report(ctx, clock.System{}, workers.Alive, log)()
	err = workers.Run(ctx, listeners...)
	closing, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	// A client that is still reading a page is disconnected.
	_ = api.Shutdown(closing)
	log.Info("stopped", "run", s.RunID)
	return err
}

// identify reads who this process is. Without an identity, only processes of this machine may reach
// it, unless it is to be insecure.
func identify(s settings.Settings, workers, pages net.Listener) (*identity.Identity, error) {
	if s.Identity != "" {
		return identity.Open(s.Identity, identity.Orchestrator, clock.System{}.Now)
	}
	if s.Insecure {
		return nil, nil
	}
	return nil, errors.Join(endpoint.Private("--listen", workers), endpoint.Private("--http", pages))
}

// warn says what others could do.
func warn(s settings.Settings, own *identity.Identity, log *slog.Logger) {
	if own == nil && s.Insecure {
		log.Warn("insecure: whoever reaches a port can take part in the run, and nothing is encrypted")
	}
	if own != nil {
		for _, file := range identity.OpenToOthers(s.Identity) {
			log.Warn("every user of this machine can read a secret; set its mode to 0600", "file", file)
		}
	}
}

// listenLocally opens the socket for workers on this machine. Where that is not possible, they
// reach the orchestrator over TCP, to the same bits.
func listenLocally(path string, log *slog.Logger) net.Listener {
	if path == "" {
		return nil
	}
	listener, err := shared.Listen(path)
	if err != nil {
		log.Warn("workers on this machine share no memory with the orchestrator and use TCP", "error", err.Error())
		return nil
	}
	return listener
}

// socketOf is the path of the socket among the listeners; empty where there is none.
func socketOf(listeners []net.Listener) string {
	for _, listener := range listeners {
		if local, is := listener.Addr().(*net.UnixAddr); is {
			return local.Name
		}
	}
	return ""
}

func writePorts(file string, workers, pages net.Listener, socket string) error {
	ports := map[string]string{"listen": endpoint.Reachable(workers), "http": endpoint.Reachable(pages)}
	if socket != "" {
		ports["socket"] = socket
	}
	text, err := json.Marshal(ports)
	if err != nil {
		return err
	}
	return rundir.WriteFile(file, append(text, '\n'))
}
