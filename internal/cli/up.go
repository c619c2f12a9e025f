package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/daemon"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/status"
)

func (a *app) upCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "up",
		Short: "Start the daemon in the background",
		Long: `Up starts the service gatelodge, where systemd has it, and waits until it is
ready. Elsewhere it starts the daemon itself, which then lasts until the next
boot only.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.up(c.Context()) },
	}
}

// startTime is how long a daemon may take until its tunnel stands. A home
// keeps trying for ever after that; the command only stops watching.
const startTime = 30 * time.Second

// answerTime is how long a daemon that runs may take to answer.
const answerTime = 5 * time.Second

func (a *app) up(ctx context.Context) error {
	if _, err := a.paths().Role(); err != nil {
		return err
	}
	starting, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	if _, err := a.client().Status(starting); err == nil {
		a.printf("already running\n")
		return nil
	} else if !errors.Is(err, daemon.ErrNotRunning) {
		return err
	}
	r, err := a.start(starting)
	if err != nil {
		return err
	}
	if !r.Tunnel.Up {
		a.noteTrouble(r)
		return nil
	}
	if r.Input == nil || r.Input.State != status.Unconfirmed {
		return r.WriteText(a.out, time.Now())
	}
	return a.tryInput(ctx)
}

// noteTrouble says why a daemon that runs has no tunnel yet, as far as it knows.
func (a *app) noteTrouble(r status.Report) {
	for _, problem := range r.Problems {
		a.notef("%s", problem)
	}
	if len(r.Problems) == 0 && r.Role == string(plan.Home) {
		a.notef("the gate has not answered yet")
	}
	a.notef("running, without a tunnel so far; it keeps trying: gatelodge status")
}

// tryInput puts an input policy on trial that a start alone does not bring into
// force: nobody has confirmed it yet.
func (a *app) tryInput(ctx context.Context) error {
	applied, err := a.client().Apply(ctx, daemon.ApplyRequest{})
	if err != nil {
		return err
	}
	if err := applied.Report.WriteText(a.out, time.Now()); err != nil {
		return err
	}
	return a.showTrial(ctx, applied.Report.Input)
}

// start starts the daemon, as a service if it is one, and waits for its
// tunnel.
func (a *app) start(ctx context.Context) (status.Report, error) {
	unit, err := a.service(ctx)
	if err != nil {
		return status.Report{}, err
	}
	if unit != nil {
		if err := a.startService(ctx, unit); err != nil {
			return status.Report{}, err
		}
		return a.awaitUp(ctx, nil, serviceLog)
	}
	exited, err := a.spawn()
	if err != nil {
		return status.Report{}, err
	}
	r, err := a.awaitUp(ctx, exited, "see "+a.paths().Log())
	if err == nil {
		a.notef("started by hand, not as a service: after the next boot run gatelodge up again")
	}
	return r, err
}

// spawn starts the daemon detached from this terminal, its output in a file.
func (a *app) spawn() (<-chan error, error) {
	if err := os.MkdirAll(a.paths().State(), 0o700); err != nil {
		return nil, err
	}
	// Never through a link: the folder may belong to the service's user.
	log, err := os.OpenFile(a.paths().Log(), os.O_WRONLY|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := exec.Command(self, "--root", a.root, "run")
	c.Stdout, c.Stderr = log, log
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("cannot start the daemon: %w", err)
	}
	exited := make(chan error, 1)
	go func() { exited <- c.Wait() }()
	return exited, nil
}

// awaitUp waits until the daemon's tunnel stands, the daemon has ended, or
// time is up; the latter only is no error once the daemon answers. The hint is
// where its log is.
func (a *app) awaitUp(ctx context.Context, exited <-chan error, hint string) (status.Report, error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var last status.Report
	for {
		if r, err := a.client().Status(ctx); err == nil {
			last = r
		}
		if last.Tunnel.Up {
			return last, nil
		}
		select {
		case err := <-exited:
			return last, fail(exitFailed, hint, "the daemon ended at once (%v): %s", err, lastLine(a.paths().Log()))
		case <-ctx.Done():
			if !last.Running {
				return last, fail(exitFailed, hint, "the daemon did not start within %s", startTime)
			}
			return last, nil
		case <-tick.C:
		}
	}
}

func (a *app) downCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Stop, and leave the machine as it was found",
		Long: `Down stops the daemon and removes all it set up: the interface, the nftables
table, rules and routes, and puts kernel settings back to their previous
values. Configuration, keys and enrolment stay. It also cleans up behind a
daemon that died.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.alone(c.Context(), func() error { return a.down(c.Context()) })
		},
	}
}

func (a *app) down(ctx context.Context) error {
	r, statusErr := a.client().Status(ctx)
	comesBack, err := a.stop(ctx)
	if err != nil {
		return err
	}
	if statusErr == nil && r.Input != nil && r.Input.State == status.OnTrial {
		a.notef("the input policy that waited for confirmation is given up, and tried again by: gatelodge up")
	}
	o, err := a.options(ctx)
	if err != nil {
		return err
	}
	done, err := daemon.Down(ctx, o)
	for _, d := range done {
		a.printf("  %s\n", d)
	}
	if err != nil {
		return err
	}
	if len(done) == 0 {
		a.printf("nothing was set up\n")
	}
	if comesBack {
		a.notef("it starts again when this machine boots; to prevent that: systemctl disable gatelodge")
	}
	return nil
}

func roleOfFile(file string) plan.Role {
	if len(file) >= len("home.toml") && file[len(file)-len("home.toml"):] == "home.toml" {
		return plan.Home
	}
	return plan.Gate
}

// lastLine returns the last line of a log, for an error.
func lastLine(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return lines[len(lines)-1]
}
