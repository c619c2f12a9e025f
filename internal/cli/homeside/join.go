package homeside

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/cli/command"
	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/membership"
	"github.com/gatelodge/gatelodge/internal/terminal"
)

// Join returns the command of that name.
func Join(a *command.App) *cobra.Command {
	var noStart bool
	c := &cobra.Command{
		Use:   "join [INVITE]",
		Short: "Make this machine a home of the gate that made the invite",
		Long: `Join redeems an invite, writes /etc/gatelodge/home.toml and starts the home.
Without an INVITE it asks for one: every user of this machine can see a command
line, that of sudo too, and the shell remembers it. With "-" it reads the invite
from standard input.`,
		Args: command.Some(0, 0, ""),
		RunE: func(c *cobra.Command, args []string) error {
			text, err := inviteText(c.Context(), a, args)
			if err != nil {
				return err
			}
			return joinGate(c.Context(), a, text, noStart)
		},
	}
	a.JSONFlag(c, "print the home's name as JSON")
	c.Flags().BoolVar(&noStart, "no-start", false, "join, and do not start")
	return c
}

// inviteText also takes an invite that a terminal has broken into words.
func inviteText(ctx context.Context, a *command.App, args []string) (string, error) {
	const most = 4096 // bytes
	in := io.LimitReader(a.In, most)
	switch {
	case len(args) == 0 && terminal.Is(a.In):
		// It is shown as it is typed: a moment later it is of no more use.
		fmt.Fprint(a.ErrOut, "Invite (from the gate: gatelodge gate invite NAME): ")
		return terminal.UnlessStopped(ctx, func() (string, error) { return terminal.FirstLine(in) })
	case len(args) == 0, len(args) == 1 && args[0] == "-":
		return terminal.UnlessStopped(ctx, func() (string, error) {
			b, err := io.ReadAll(in)
			return string(b), err
		})
	}
	text := strings.Clone(strings.Join(args, " "))
	terminal.HideArguments(args)
	return text, nil
}

func joinGate(ctx context.Context, a *command.App, text string, noStart bool) error {
	invite, err := key.ParseInvite(text)
	if err != nil {
		return command.Fail(command.ExitUsage, "copy the invite again, or make a new one on the gate: gatelodge gate invite NAME", "%w", err)
	}
	name, err := becomeHome(ctx, a, invite)
	if err != nil {
		return command.Stopped(ctx, err, "this machine is no home yet; the same invite can be used again from here")
	}
	a.Printf("joined as %s\n", name)
	if noStart {
		a.Printf("start it with: gatelodge up\n")
	} else {
		if err := a.Instance().Enable(ctx); err != nil {
			return err
		}
		if _, err := a.Up(ctx); err != nil {
			return command.Stopped(ctx, err, "this machine is the home "+name+"; gatelodge status says whether it runs, gatelodge up starts it")
		}
		a.Printf("next: gatelodge expose 443\n")
	}
	return a.Answer(struct {
		Name    string `json:"name"`
		Started bool   `json:"started"`
	}{name, !noStart})
}

// becomeHome redeems an invite, and writes home.toml where there is none. It
// returns the home's name.
func becomeHome(ctx context.Context, a *command.App, invite key.Invite) (string, error) {
	role, err := a.Paths().Role()
	if err == nil && role == forward.Gate {
		return "", command.Fail(command.ExitFailed, "", "this machine is a gate; a home is another machine")
	}
	hadConfig := err == nil
	if err != nil && !errors.Is(err, layout.ErrNoRole) {
		return "", err
	}
	o, err := a.Options(ctx)
	if err != nil {
		return "", err
	}
	joined, err := membership.Join(ctx, membership.Options{Paths: o.Paths, Log: o.Log, Owner: o.Owner}, invite)
	if u, ok := errors.AsType[*membership.UnreachableError](err); ok {
		return "", command.Fail(command.ExitUnreachable, u.Hint, "%w", err)
	}
	if err != nil || hadConfig {
		return joined.Name, err
	}
	return joined.Name, writeHome(a)
}

// writeHome writes home.toml: that of before, if this machine has left another gate,
// or an empty one.
func writeHome(a *command.App) error {
	data, forwards, before, err := a.Editor().Before()
	if err != nil {
		a.Notef("the file of before cannot be used: %v", err)
	}
	if !before {
		data = config.NewHomeFile()
	}
	if err := a.Editor().Create(forward.Home, data); err != nil {
		return err
	}
	if before {
		a.Printf("home.toml is that of before, with %s\n", command.Counted(forwards, "forward", "forwards"))
	}
	return nil
}
