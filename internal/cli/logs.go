package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/cli/command"
)

func logsCommand(a *command.App) *cobra.Command {
	var follow bool
	c := &cobra.Command{
		Use:     "logs",
		Aliases: []string{"log"},
		Short:   "Show what the daemon has logged",
		Long: `Logs shows the last hundred lines of the daemon's log: those of the service from
the journal, those of a daemon started by hand from its file.`,
		Args: command.None,
		RunE: func(c *cobra.Command, _ []string) error { return showLogs(c.Context(), a, follow) },
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what comes, until Ctrl-C")
	return c
}

// lastLines is how much of a log is shown.
const lastLines = "100"

func showLogs(ctx context.Context, a *command.App, follow bool) error {
	if _, err := a.Paths().Role(); err != nil {
		return err
	}
	unit, err := a.Instance().Unit(ctx)
	if err != nil {
		return err
	}
	args := []string{"journalctl", "--no-pager", "--quiet", "--lines", lastLines, "--unit", "gatelodge"}
	if unit == nil {
		if _, err := os.Stat(a.Paths().Log()); errors.Is(err, fs.ErrNotExist) {
			return command.Fail(command.ExitFailed, "gatelodge up", "there is no log: no daemon has been started here")
		}
		args = []string{"tail", "--lines", lastLines, a.Paths().Log()}
	}
	if follow {
		args = append(args, "--follow")
	}
	return runFor(ctx, a, args)
}

// runFor runs a program whose output is the answer. Ctrl-C ends both.
func runFor(ctx context.Context, a *command.App, args []string) error {
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = time.Second
	c.Stdout, c.Stderr = a.Out, a.ErrOut
	err := c.Run()
	switch {
	case ctx.Err() != nil:
		return nil // it has been seen
	case errors.Is(err, exec.ErrNotFound):
		return command.Fail(command.ExitFailed, "install it", "%s is not on this machine", args[0])
	case err != nil:
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return nil
}

func versionCommand(a *command.App) *cobra.Command {
	c := &cobra.Command{
		Use:   "version",
		Short: "Show the version of this program, and of the daemon that runs",
		Args:  command.None,
		RunE: func(c *cobra.Command, _ []string) error {
			v := versions{Program: a.Version}
			// A daemon that does not answer has no version to show.
			if r, err := a.Client().Status(c.Context()); err == nil && r.Running {
				v.Daemon = r.Version
			}
			v.write(a)
			return a.Answer(v)
		},
	}
	a.JSONFlag(c, "print the versions as JSON")
	return c
}

// versions are those of one machine. They differ after an upgrade, until the daemon
// is restarted.
type versions struct {
	Program string `json:"program"`
	Daemon  string `json:"daemon,omitempty"` // "" where none runs
}

func (v versions) write(a *command.App) {
	a.Printf("gatelodge %s\n", v.Program)
	switch v.Daemon {
	case v.Program:
		a.Printf("the daemon is of the same version\n")
	case "":
		a.Printf("no daemon runs here, or it does not answer\n")
	default:
		a.Printf("the daemon is version %s: systemctl restart gatelodge\n", v.Daemon)
	}
}
