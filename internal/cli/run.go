package cli

import (
	"context"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/cli/command"
	"github.com/gatelodge/gatelodge/internal/daemon"
	"github.com/gatelodge/gatelodge/internal/systemd"
)

// memoryLimit is what the Go runtime is told to stay within, in bytes. The
// embedded WireGuard would otherwise keep hundreds of megabytes of buffers
// after a large transfer, for no gain in speed.
const memoryLimit = 64 << 20

func runCommand(a *command.App) *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Run the daemon in the foreground",
		Long: `Run is the daemon. It ends on SIGINT and SIGTERM and leaves in place what it
set up, so that connections survive a restart; gatelodge down removes it.
SIGHUP makes it read its configuration again. As a service of systemd it reports
when it is ready and that it is alive, and logs to the journal.`,
		Args: command.None,
		RunE: func(c *cobra.Command, _ []string) error {
			if os.Getenv("GOMEMLIMIT") == "" {
				debug.SetMemoryLimit(memoryLimit)
			}
			return runDaemon(c.Context(), a)
		},
	}
}

// The names under which systemd keeps descriptors: that of the embedded device,
// and the socket of the firewall's guard.
const (
	keptTUN   = "tun"
	keptGuard = "guard"
)

func runDaemon(ctx context.Context, a *command.App) error {
	log := daemonLogger(a)
	service, err := systemd.FromEnvironment()
	if err != nil {
		log.Warn("systemd", "error", err)
	}
	tun, err := service.TakeFile(keptTUN)
	if err != nil {
		log.Warn("an old descriptor of the TUN device is still open", "error", err)
	}
	guard, err := service.TakeFile(keptGuard)
	if err != nil {
		log.Warn("an old socket of the firewall's guard is still open", "error", err)
	}
	err = daemon.Run(ctx, daemon.Options{
		Paths: a.Paths(), Version: a.Version, Log: log, Service: service,
		TUN: tun, KeepTUN: func(f *os.File) error { return service.KeepFile(keptTUN, f) },
		Guard: guard, KeepGuard: func(f *os.File) error { return service.KeepFile(keptGuard, f) },
	})
	if err != nil {
		if noteErr := a.Instance().NoteFailure(command.Classify(err)); noteErr != nil {
			log.Debug("the command that has started this does not learn why it ends", "error", noteErr)
		}
	}
	return err
}

// daemonLogger writes to the journal where that is what reads us.
func daemonLogger(a *command.App) *slog.Logger {
	if f, ok := a.ErrOut.(*os.File); ok {
		if h := systemd.Journal(f, slog.LevelInfo); h != nil {
			return slog.New(h)
		}
	}
	return a.Logger()
}
