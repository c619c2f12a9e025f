package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/lab"
)

// labTime bounds a whole run of the lab.
const labTime = 3 * time.Minute

type labFlags struct {
	keep  bool
	json  bool
	quiet bool
}

func newLabCommand() *cobra.Command {
	var f labFlags
	c := &cobra.Command{
		Use:   "lab",
		Short: "The whole thing on this one machine, in network namespaces",
		Long: `Lab makes a small internet in network namespaces: a visitor, a gate, two homes
behind a carrier-grade NAT, a device in a home's LAN and a container. This very
program runs in it as gate and as homes. Lab then probes, as a visitor, what
can be reached and which address each service sees.

It touches nothing of this machine's network, and needs no root where the
kernel allows user namespaces. All is gone when it ends; --keep leaves it
standing until "gatelodge lab down".`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if f.keep {
				return keepLab(c, f)
			}
			return runLab(c, f)
		},
	}
	c.Flags().BoolVar(&f.keep, "keep", false, "leave the lab standing in the background")
	c.Flags().BoolVar(&f.json, "json", false, "print the report as JSON")
	c.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "print the report only, not the steps")
	c.AddCommand(labShellCommand(), labStatusCommand(), labDownCommand(), labSSHCommand(), labHoldCommand())
	return c
}

// runLab makes a lab, probes it, and lets it go.
func runLab(c *cobra.Command, f labFlags) error {
	return insideLab(c, f.quiet, func(_ context.Context, _ *lab.Lab, r lab.Report) error {
		return printLabReport(c, f, r)
	})
}

// insideLab moves this program into namespaces of its own, makes a lab there,
// probes it, and hands both to then. The context is one that signals end.
func insideLab(c *cobra.Command, quiet bool, then func(context.Context, *lab.Lab, lab.Report) error) error {
	if err := lab.CheckPrerequisites(); err != nil {
		return err
	}
	status, outside, err := lab.Enter()
	if err != nil {
		return err
	}
	if outside {
		if status != exitOK {
			os.Exit(status) // the run inside has said why
		}
		return nil
	}
	ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	l, r, err := makeLab(ctx, c.ErrOrStderr(), quiet)
	if l != nil {
		defer l.Close()
	}
	if ctx.Err() != nil {
		return fail(exitFailed, "", "interrupted; the lab is gone")
	}
	if err != nil {
		return errors.Join(err, r.WriteText(c.ErrOrStderr()))
	}
	return then(ctx, l, r)
}

func makeLab(ctx context.Context, steps io.Writer, quiet bool) (*lab.Lab, lab.Report, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, labTime, fmt.Errorf("the lab has not ended within %s", labTime))
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		return nil, lab.Report{}, err
	}
	o := lab.Options{Binary: self}
	if !quiet {
		o.Log = steps
	}
	l, err := lab.New(ctx, o)
	if err != nil {
		return nil, lab.Report{}, err
	}
	r, err := l.Demo(ctx)
	return l, r, err
}

func printLabReport(c *cobra.Command, f labFlags, r lab.Report) error {
	out := c.OutOrStdout()
	var err error
	if f.json {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		err = e.Encode(r)
	} else {
		if !f.quiet {
			fmt.Fprintln(c.ErrOrStderr())
		}
		err = r.WriteText(out)
	}
	if err != nil {
		return err
	}
	if n := r.Failed(); n > 0 {
		hint := "gatelodge lab --keep leaves it standing, to be looked into"
		if f.keep {
			hint = "gatelodge lab shell HOST"
		}
		return fail(exitFailed, hint, "%d of %d probes of the lab failed", n, len(r.Results))
	}
	return nil
}

func labShellCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "shell HOST [COMMAND...]",
		Short:   "Run a command, or a shell, on a host of the standing lab",
		Example: "  gatelodge lab shell visitor\n  gatelodge lab shell home -- gatelodge status",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := lab.CheckPrerequisites(); err != nil {
				return err
			}
			s, err := standingLab()
			if err != nil {
				return err
			}
			host, command := args[0], args[1:]
			if len(command) > 0 && command[0] == "--" {
				command = command[1:]
			}
			return s.Exec(host, command)
		},
	}
	c.Flags().SetInterspersed(false) // what follows HOST are the command's own
	return c
}

func labStatusCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the standing lab and its hosts",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := standingLab()
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(c.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(s)
			}
			return s.WriteText(c.OutOrStdout())
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return c
}

func labDownCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Take the standing lab down",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			place, err := lab.FindPlace()
			if err != nil {
				return err
			}
			release, err := place.Lock()
			if err != nil {
				return err
			}
			s, err := place.Load()
			if err == nil {
				err = s.Down(c.Context())
			}
			none := errors.Is(err, lab.ErrNone)
			if none || err == nil {
				err = place.Remove()
			}
			if err := errors.Join(err, release()); err != nil {
				return err
			}
			said := "the lab is gone"
			if none {
				said = "no lab stands"
			}
			fmt.Fprintln(c.OutOrStdout(), said)
			return nil
		},
	}
}

// standingLab is the lab that --keep has left.
func standingLab() (lab.Standing, error) {
	place, err := lab.FindPlace()
	if err != nil {
		return lab.Standing{}, err
	}
	s, err := place.Load()
	if errors.Is(err, lab.ErrNone) {
		err = fail(exitFailed, "gatelodge lab --keep", "%w", err)
	}
	return s, err
}

// labSSHCommand is what the lab runs on its gate under the name sshd.
func labSSHCommand() *cobra.Command {
	return &cobra.Command{
		Use:    lab.SSHCommand,
		Short:  "The ssh server of the lab's gate",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(c *cobra.Command, _ []string) error { return lab.ServeSSH(c.Context()) },
	}
}
