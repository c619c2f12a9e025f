package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/daemon"
	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/status"
)

func downCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "down",
		Short: "Stop, and leave the machine as it was found",
		Long: `Down stops the daemon and removes everything that it set up: the interface, the
nftables table, rules and routes. Kernel settings get their previous values
again. Configuration, keys and enrolment stay. Down also cleans up after a daemon
that crashed.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var done []string
			err := a.editor().Alone(c.Context(), func() (err error) {
				done, err = down(c.Context(), a)
				return err
			})
			if err != nil {
				return err
			}
			return a.answer(deeds{done})
		},
	}
	a.jsonFlag(c, "print what was done as JSON")
	return c
}

// deeds is the answer of a command that does things, in words.
type deeds struct {
	Done []string `json:"done"`
}

func (a *app) printDone(done []string) {
	for _, d := range done {
		a.printf("  %s\n", d)
	}
}

func down(ctx context.Context, a *app) ([]string, error) {
	r, statusErr := a.client().Status(ctx)
	comesBack, err := a.instance().Stop(ctx)
	if err != nil {
		return nil, err
	}
	if statusErr == nil && r.Input != nil && r.Input.State == status.OnTrial {
		a.notef("the input policy that waited for confirmation is reverted; to try it again: gatelodge up")
	}
	o, err := a.options(ctx)
	if err != nil {
		return nil, err
	}
	done, err := daemon.Down(ctx, o)
	a.printDone(done)
	if err != nil {
		return done, err
	}
	if len(done) == 0 {
		a.printf("nothing was set up\n")
	}
	if comesBack {
		a.notef("it starts again when this machine boots; to prevent that: systemctl disable gatelodge")
	}
	return done, nil
}

// downIfRole brings down what may be up; a machine without a role has nothing.
func downIfRole(ctx context.Context, a *app) ([]string, error) {
	_, err := a.paths().Role()
	if errors.Is(err, layout.ErrNoRole) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return down(ctx, a)
}
