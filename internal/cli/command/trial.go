package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/status"
	"github.com/gatelodge/gatelodge/internal/terminal"
)

// ShowTrial says what is on trial, and on a terminal how much time is left,
// until it is kept or reverted.
func (a *App) ShowTrial(ctx context.Context, in *status.Input) error {
	if a.AsJSON || in == nil || in.State != status.OnTrial {
		return nil
	}
	left := in.Left.Round(time.Second)
	a.Notef("the new firewall is in force for %s; it closes %s", left, strings.Join(in.Closes, ", "))
	a.Notef("open a second ssh session to this machine now: if that works, the firewall stays; if not, all is as before in %s", left)
	if !terminal.Is(a.ErrOut) {
		return nil
	}
	return a.countDown(ctx)
}

// countDown returns when the policy on trial is kept, or with an error when it
// is not.
func (a *App) countDown(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	defer fmt.Fprintln(a.ErrOut)
	for {
		r, err := a.Client().Status(ctx)
		switch {
		case err != nil && ctx.Err() == nil && !errors.Is(err, local.ErrNotRunning):
			return err
		case err != nil || r.Input == nil:
			return Fail(ExitFailed, "gatelodge status", "the daemon has ended; the change on trial is reverted")
		case r.Input.State == status.Kept:
			fmt.Fprintf(a.ErrOut, "\r\x1b[Kgatelodge: the firewall stays: a new connection came through, or you have confirmed it")
			return nil
		case r.Input.State == status.Unconfirmed:
			return Fail(ExitFailed, "gatelodge apply, and then open a new ssh session", "reverted: nobody has confirmed it")
		}
		fmt.Fprintf(a.ErrOut, "\r\x1b[Kgatelodge: as before in %s ", r.Input.Left.Round(time.Second))
		select {
		case <-ctx.Done():
			return Stopped(ctx, context.Cause(ctx), "the change is in force, and reverted by itself unless you confirm it from a new ssh session: gatelodge confirm")
		case <-tick.C:
		}
	}
}
