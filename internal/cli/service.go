package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gatelodge/gatelodge/internal/daemon"
	"github.com/gatelodge/gatelodge/internal/store"
	"github.com/gatelodge/gatelodge/internal/systemd"
	"github.com/gatelodge/gatelodge/packaging"
)

// serviceLog is how the owner reads what the service says.
const serviceLog = "journalctl --unit gatelodge"

// service returns the unit by which systemd runs the daemon of this instance,
// or nil: there is no systemd, the unit is not installed, or --root says that
// this is not the machine's own instance.
func (a *app) service(ctx context.Context) (*systemd.Unit, error) {
	if filepath.Clean(a.root) != "/" || !systemd.Booted() {
		return nil, nil
	}
	unit := systemd.NewUnit(packaging.Service)
	installed, err := unit.Installed(ctx)
	if err != nil || !installed {
		return nil, err
	}
	return unit, nil
}

// options are what the commands need of an instance. Folders that they have to
// make belong to the user that the service runs as.
func (a *app) options(ctx context.Context) (daemon.Options, error) {
	o := daemon.Options{Paths: a.paths(), Version: Version, Log: a.logger()}
	unit, err := a.service(ctx)
	if err != nil || unit == nil || os.Geteuid() != 0 {
		return o, err
	}
	o.Owner, err = ownerOf(ctx, unit)
	return o, err
}

// ownerOf returns the user that a unit runs as; nil is root.
func ownerOf(ctx context.Context, unit *systemd.Unit) (*store.Owner, error) {
	s, err := unit.State(ctx)
	if err != nil || s.User == "" || s.User == "root" {
		return nil, err
	}
	u, err := user.Lookup(s.User)
	if err != nil {
		return nil, fmt.Errorf("%s runs as the user %s, who is not to be found; install the package again: %w", unit, s.User, err)
	}
	uid, uidErr := strconv.Atoi(u.Uid)
	gid, gidErr := strconv.Atoi(u.Gid)
	return &store.Owner{UID: uid, GID: gid}, errors.Join(uidErr, gidErr)
}

// enable makes the service start when the machine does, where there is one.
func (a *app) enable(ctx context.Context) error {
	unit, err := a.service(ctx)
	if err != nil || unit == nil {
		return err
	}
	return unit.Enable(ctx)
}

// startService starts the service, and returns when it is ready or ctx ends;
// the latter only is no error once the daemon answers.
func (a *app) startService(ctx context.Context, unit *systemd.Unit) error {
	if os.Geteuid() != 0 {
		return fail(exitPrivilege, "sudo gatelodge up", "only root can start %s", unit)
	}
	if err := daemon.ForgetFailedStarts(a.paths()); err != nil {
		return err
	}
	// A restart, because a service that waits for its next try does not start
	// any sooner for being started.
	err := unit.Restart(ctx)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return a.explainUnready(unit)
	}
	if failed, ok := errors.AsType[*systemd.StartError](err); ok && failed.Hint != "" {
		return fail(exitFailed, failed.Hint, "%w", err)
	}
	if err != nil {
		return fail(exitFailed, serviceLog, "%w", err)
	}
	return nil
}

// explainUnready says why a service that runs is not ready.
func (a *app) explainUnready(unit *systemd.Unit) error {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	r, err := a.client().Status(ctx)
	if err != nil {
		return fail(exitFailed, serviceLog, "%s is not ready within %s, and does not say why: %w", unit, startTime, err)
	}
	return fail(exitFailed, serviceLog, "%s runs, but could not set this machine up within %s; it tries on: %s", unit, startTime, strings.Join(r.Problems, "; "))
}

// stop stops the daemon, whoever runs it, and returns whether it starts again
// at the next boot.
func (a *app) stop(ctx context.Context) (comesBack bool, err error) {
	unit, err := a.service(ctx)
	if err != nil {
		return false, err
	}
	if unit != nil {
		if err := unit.Stop(ctx); err != nil {
			return false, err
		}
		if comesBack, err = unit.Enabled(ctx); err != nil {
			return false, err
		}
	}
	// One that was started by hand.
	if err := a.client().Stop(ctx); err != nil && !errors.Is(err, daemon.ErrNotRunning) {
		return comesBack, err
	}
	return comesBack, nil
}
