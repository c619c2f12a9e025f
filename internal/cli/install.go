package cli

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/cli/command"
	"github.com/gatelodge/gatelodge/internal/install"
)

func installCommand(a *command.App) *cobra.Command {
	c := &cobra.Command{
		Use:   "install",
		Short: "Install this program as a service, without a package",
		Long: `Install copies this program to /usr/local/bin/gatelodge and, where systemd
runs this machine, makes the user gatelodge, the unit gatelodge.service, and a
drop-in that tells systemd-networkd to leave our routes alone. It starts nothing
that was not running; a running daemon is replaced. Where a package has installed
gatelodge, it refuses. gatelodge uninstall removes exactly what install made.`,
		Args: command.None,
		RunE: func(c *cobra.Command, _ []string) error { return installHere(c.Context(), a) },
	}
	a.JSONFlag(c, "print what was done as JSON")
	return c
}

func installHere(ctx context.Context, a *command.App) error {
	done, err := installSelf(ctx, a)
	a.PrintDone(done)
	if err != nil {
		return err
	}
	unit, err := a.Instance().Unit(ctx)
	if err != nil {
		return err
	}
	if unit == nil {
		a.Notef("there is no systemd here to start it: after each boot run gatelodge up")
	}
	a.Printf("installed; next, on a VPS: gatelodge gate init; at home: gatelodge join INVITE\n")
	return a.Answer(command.Deeds{Done: done})
}

// installSelf installs the program that runs, and says in words what it did.
func installSelf(ctx context.Context, a *command.App) ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	done, err := install.Install(ctx, install.Options{Root: a.Root, Program: self})
	return done, explainInstall(err)
}

func explainInstall(err error) error {
	if p, ok := errors.AsType[*install.PackagedError](err); ok {
		return command.Fail(command.ExitFailed, p.RemoveHint(), "%w", err)
	}
	return err
}

func uninstallCommand(a *command.App) *cobra.Command {
	var purge bool
	c := &cobra.Command{
		Use:   "uninstall",
		Short: "Remove what install has made",
		Long: `Uninstall removes what the daemon set up, stops and disables the service, and
removes what gatelodge install has made. Configuration and keys stay, so that you
can install it again and continue, unless --purge is given. A package is removed
by its package manager; where one has been installed since, its service replaces
the removed one.`,
		Args: command.None,
		RunE: func(c *cobra.Command, _ []string) error { return uninstall(c.Context(), a, purge) },
	}
	a.JSONFlag(c, "print what was done as JSON")
	c.Flags().BoolVar(&purge, "purge", false, "remove configuration, keys and the user as well")
	return c
}

func uninstall(ctx context.Context, a *command.App, purge bool) error {
	o := install.Options{Root: a.Root}
	replaced, err := install.CanUninstall(ctx, o, purge)
	if err != nil {
		return explainInstall(err)
	}
	var down []string
	// A package's service goes on: what stands in the kernel is its now.
	if !replaced {
		if down, err = a.DownIfRole(ctx); err != nil {
			return err
		}
	}
	done, err := install.Uninstall(ctx, o, purge)
	a.PrintDone(done)
	if err != nil {
		return err
	}
	if !purge && !replaced {
		sayKept(a)
	}
	return a.Answer(command.Deeds{Done: append(down, done...)})
}

// sayKept says what an uninstallation leaves, and how that goes as well: the program
// that could do it is gone.
func sayKept(a *command.App) {
	var kept []string
	for _, folder := range []string{a.Paths().Config(), a.Paths().State()} {
		if _, err := os.Stat(folder); err == nil {
			kept = append(kept, folder)
		}
	}
	if len(kept) > 0 {
		a.Printf("kept: %s, with the configuration and the keys; to remove them, too: rm -r %s\n", strings.Join(kept, " and "), strings.Join(kept, " "))
	}
}
