package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/status"
	"github.com/gatelodge/gatelodge/internal/terminal"
)

func confirmCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "confirm",
		Short: "Keep a change that would be reverted otherwise",
		Long: `A change that closes ports of the gate's own could lock you out, so it is
reverted after a minute unless it is confirmed. Confirm it from an ssh session
that you have opened after the change: an older one proves nothing. It is enough
to open a new one, if the gate sees it come through.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := asGate(a); err != nil {
				return err
			}
			session, err := host.SSHClient(host.SSHConnection())
			if err != nil {
				return fail(exitFailed, "run it in a new ssh session", "%w", err)
			}
			r, err := a.client().Confirm(c.Context(), local.ConfirmRequest{Session: session})
			if err != nil {
				return err
			}
			a.printf("kept\n")
			return a.answer(r)
		},
	}
	a.jsonFlag(c, "print the report as JSON")
	return c
}

// showTrial says what is on trial, and on a terminal how much time is left,
// until it is kept or reverted.
func showTrial(ctx context.Context, a *app, in *status.Input) error {
	if a.asJSON || in == nil || in.State != status.OnTrial {
		return nil
	}
	a.notef("on trial: this closes %s", strings.Join(in.Closes, ", "))
	a.notef("it is reverted in %s, unless you open a new ssh session to this machine, or run gatelodge confirm in one", in.Left.Round(time.Second))
	if !terminal.Is(a.errOut) {
		return nil
	}
	return countDown(ctx, a)
}

// countDown returns when the policy on trial is kept, or with an error when it
// is not.
func countDown(ctx context.Context, a *app) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	defer fmt.Fprintln(a.errOut)
	for {
		r, err := a.client().Status(ctx)
		switch {
		case err != nil && ctx.Err() == nil && !errors.Is(err, local.ErrNotRunning):
			return err
		case err != nil || r.Input == nil:
			return fail(exitFailed, "gatelodge status", "the daemon has ended; the change on trial is reverted")
		case r.Input.State == status.Kept:
			fmt.Fprintf(a.errOut, "\r\x1b[Kgatelodge: kept: a new connection came through, or you have confirmed it")
			return nil
		case r.Input.State == status.Unconfirmed:
			return fail(exitFailed, "gatelodge apply, and then open a new ssh session", "reverted: nobody has confirmed it")
		}
		fmt.Fprintf(a.errOut, "\r\x1b[Kgatelodge: reverted in %s ", r.Input.Left.Round(time.Second))
		select {
		case <-ctx.Done():
			return fail(exitFailed, "gatelodge confirm, in a new ssh session", "no longer waiting; the change is reverted by itself unless you confirm it")
		case <-tick.C:
		}
	}
}
