// Package servicemanager tells the service manager that started this process, such as systemd, how
// the process is, so that it is restarted when it hangs. Without a service manager nothing happens.
package servicemanager

import (
	"context"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"pangea.example/pangea/services/go-orchestrator/internal/clock"
)

// checks is how often the process is looked at in the time after which the service manager would
// end it. One bad moment must not be enough: a disk may be slow and recover.
const checks = 4

// Report says that the process is ready, and from then on that it is alive, while alive returns
// nil. It says that the process is stopping when ctx ends or the function that it returns is
// called, which returns after that was said.
func Report(ctx context.Context, hands clock.Clock, alive func() error, log *slog.Logger) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("the service manager's watchdog is not used", "error", err.Error())
	}
	tell(daemon.SdNotifyReady, log)
	var wake <-chan time.Time
	if limit > 0 {
		wake = hands.After(limit / checks)
	}
	told := make(chan struct{})
	go func() {
		defer close(told)
		// From then on, the service manager's patience with stopping counts.
		defer tell(daemon.SdNotifyStopping, log)
		for {
			select {
			case <-ctx.Done():
				return
			case <-wake:
			}
			if err := alive(); err == nil {
				tell(daemon.SdNotifyWatchdog, log)
			} else {
				log.Error("the service manager is not told that this process is alive, and restarts it unless "+
					"it recovers", "reason", err.Error(), "after", limit.String())
			}
			wake = hands.After(limit / checks)
		}
	}()
	return func() {
		cancel()
		<-told
	}
}

func tell(state string, log *slog.Logger) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("cannot reach the service manager, which may take this process for dead; its unit must allow "+
			"AF_UNIX", "state", state, "error", err.Error())
	}
}
