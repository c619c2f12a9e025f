package instance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/problem"
	"github.com/gatelodge/gatelodge/internal/status"
	"github.com/gatelodge/gatelodge/internal/supervise"
	"github.com/gatelodge/gatelodge/internal/systemd"
)

// serviceLog is how the owner reads what the service says.
const serviceLog = "journalctl --unit gatelodge"

// StartTime is how long a daemon may take until it has set this machine up. A busy
// machine with a slow processor needs more than half a minute for its first start.
const StartTime = time.Minute

// tunnelTime is how long a command waits for the tunnel of a daemon that answers. A
// home keeps trying for ever after that; the command only stops watching.
const tunnelTime = 30 * time.Second

// answerTime is how long a daemon that runs may take to answer.
const answerTime = 5 * time.Second

// Up starts the daemon if it does not run, and waits up to StartTime for its
// tunnel. That there is none then is no error, once the daemon answers.
func (i Instance) Up(ctx context.Context) (r status.Report, ran bool, err error) {
	if _, err := i.Paths.Role(); err != nil {
		return r, false, err
	}
	ctx, cancel := context.WithTimeout(ctx, StartTime)
	defer cancel()
	r, err = i.Client().Status(ctx)
	if err == nil || !errors.Is(err, local.ErrNotRunning) {
		return r, true, err
	}
	r, err = i.start(ctx)
	return r, false, err
}

// start starts the daemon, as a service if it is one, and waits for its
// tunnel.
func (i Instance) start(ctx context.Context) (status.Report, error) {
	unit, err := i.Unit(ctx)
	if err != nil {
		return status.Report{}, err
	}
	if unit != nil {
		if err := i.startService(ctx, unit); err != nil {
			return status.Report{}, err
		}
		return i.awaitUp(ctx, nil, serviceLog)
	}
	exited, err := i.spawn()
	if err != nil {
		return status.Report{}, err
	}
	r, err := i.awaitUp(ctx, exited, "see "+i.Paths.Log())
	if err == nil {
		i.Note("started by hand, not as a service: after the next boot run gatelodge up again")
	}
	return r, err
}

// startService starts the service, and returns when it is ready or ctx ends;
// the latter only is no error once the daemon answers.
func (i Instance) startService(ctx context.Context, unit *systemd.Unit) error {
	if os.Geteuid() != 0 {
		return problem.New(problem.Privilege, "sudo gatelodge up", "only root can start %s", unit)
	}
	if err := errors.Join(supervise.ForgetFailedStarts(i.Paths.FailedStarts()), i.forgetFailure()); err != nil {
		return err
	}
	// A restart, because a service that waits for its next try does not start
	// any sooner for being started.
	err := unit.Restart(ctx)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return i.explainUnready(unit)
	}
	if why := i.failure(); err != nil && why != nil {
		return problem.New(problem.Failed, cmp.Or(why.Hint, serviceLog), "%s does not start: %w", unit, why)
	}
	if err != nil {
		return problem.New(problem.Failed, serviceLog, "%w", err)
	}
	return nil
}

// explainUnready says why a service that runs is not ready.
func (i Instance) explainUnready(unit *systemd.Unit) error {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	r, err := i.Client().Status(ctx)
	if err != nil {
		return problem.New(problem.Failed, serviceLog, "%s is not ready within %s, and does not say why: %w", unit, StartTime, err)
	}
	return problem.New(problem.Failed, serviceLog, "%s runs, but could not set this machine up within %s; it keeps trying: %s", unit, StartTime, strings.Join(r.Problems, "; "))
}

// spawn starts the daemon detached from this terminal, its output in a file.
func (i Instance) spawn() (<-chan error, error) {
	if err := os.MkdirAll(i.Paths.State(), 0o700); err != nil {
		return nil, err
	}
	// Never through a link: the folder may belong to the service's user.
	log, err := os.OpenFile(i.Paths.Log(), os.O_WRONLY|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	if err := i.forgetFailure(); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := exec.Command(self, "--root", i.Paths.Root, "run")
	c.Stdout, c.Stderr = log, log
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("cannot start the daemon: %w", err)
	}
	exited := make(chan error, 1)
	go func() { exited <- c.Wait() }()
	return exited, nil
}

// AwaitUp waits until the daemon's tunnel stands, or ctx ends; the latter is no
// error once the daemon answers.
func (i Instance) AwaitUp(ctx context.Context) (status.Report, error) {
	return i.awaitUp(ctx, nil, "gatelodge status")
}

// awaitUp is AwaitUp, also of a daemon that may end. The hint is where its log
// is.
func (i Instance) awaitUp(ctx context.Context, exited <-chan error, hint string) (status.Report, error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var last status.Report
	var answered time.Time
	for {
		if r, err := i.Client().Status(ctx); err == nil {
			last = r
			if answered.IsZero() {
				answered = time.Now()
			}
		}
		if last.Works() || last.Running && time.Since(answered) > tunnelTime {
			return last, nil
		}
		select {
		case err := <-exited:
			return last, problem.New(problem.Failed, hint, "the daemon ended at once (%v): %s", err, i.lastWords())
		case <-ctx.Done():
			if !last.Running {
				return last, problem.New(problem.Failed, hint, "the daemon did not start within %s", StartTime)
			}
			return last, nil
		case <-tick.C:
		}
	}
}

// lastWords returns why a daemon that was started by hand has ended: what it says,
// or else the last line of its log.
func (i Instance) lastWords() string {
	if why := i.failure(); why != nil {
		return why.Error()
	}
	data, err := os.ReadFile(i.Paths.Log())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return lines[len(lines)-1]
}
