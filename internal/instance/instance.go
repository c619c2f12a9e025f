// Package instance starts and stops the daemon of one gatelodge on this machine:
// as a service where the service manager has it, and by hand elsewhere.
package instance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/store"
	"github.com/gatelodge/gatelodge/internal/systemd"
	"github.com/gatelodge/gatelodge/packaging"
)

// Instance is one gatelodge on this machine.
type Instance struct {
	Paths layout.Paths
	// Note is told, in words, what the user who starts the daemon should know.
	Note func(text string)
}

// Client returns how to ask its daemon.
func (i Instance) Client() *local.Client { return local.NewClient(i.Paths.Socket()) }

// IsMachines reports whether it is the machine's own, not one below a root of its
// own beside it.
func (i Instance) IsMachines() bool { return filepath.Clean(i.Paths.Root) == "/" }

// Unit returns the unit by which systemd runs the daemon, or nil: there is no
// systemd, the unit is not installed, or this is not the machine's own instance.
func (i Instance) Unit(ctx context.Context) (*systemd.Unit, error) {
	if !i.IsMachines() || !systemd.Booted() {
		return nil, nil
	}
	unit := systemd.NewUnit(packaging.Service)
	installed, err := unit.Installed(ctx)
	if err != nil || !installed {
		return nil, err
	}
	return unit, nil
}

// Owner returns to whom folders belong that a command has to make: the user that
// the service runs as; nil is the user who runs the command.
func (i Instance) Owner(ctx context.Context) (*store.Owner, error) {
	unit, err := i.Unit(ctx)
	if err != nil || unit == nil || os.Geteuid() != 0 {
		return nil, err
	}
	return ownerOf(ctx, unit)
}

// ownerOf returns the user that a unit runs as; nil is root.
func ownerOf(ctx context.Context, unit *systemd.Unit) (*store.Owner, error) {
	s, err := unit.State(ctx)
	if err != nil || s.User == "" || s.User == "root" {
		return nil, err
	}
	u, err := user.Lookup(s.User)
	if err != nil {
		return nil, fmt.Errorf("%s runs as the user %s, who does not exist; install the package again: %w", unit, s.User, err)
	}
	uid, uidErr := strconv.Atoi(u.Uid)
	gid, gidErr := strconv.Atoi(u.Gid)
	return &store.Owner{UID: uid, GID: gid}, errors.Join(uidErr, gidErr)
}

// Enable makes the service start when the machine does, where there is one.
func (i Instance) Enable(ctx context.Context) error {
	unit, err := i.Unit(ctx)
	if err != nil || unit == nil {
		return err
	}
	return unit.Enable(ctx)
}

// Disable undoes Enable.
func (i Instance) Disable(ctx context.Context) error {
	unit, err := i.Unit(ctx)
	if err != nil || unit == nil {
		return err
	}
	return unit.Disable(ctx)
}

// Stop stops the daemon, no matter who runs it, and returns whether it starts again
// at the next boot.
func (i Instance) Stop(ctx context.Context) (comesBack bool, err error) {
	unit, err := i.Unit(ctx)
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
	if err := i.Client().Stop(ctx); err != nil && !errors.Is(err, local.ErrNotRunning) {
		return comesBack, err
	}
	return comesBack, nil
}
