package command

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
	"github.com/gatelodge/gatelodge/internal/lab/demo"
)

// timeLimit bounds a whole run of the lab.
const timeLimit = 3 * time.Minute

type flags struct {
	keep  bool
	json  bool
	quiet bool
}

// run makes a lab, probes it, and lets it go.
func run(c *cobra.Command, f flags) error {
	return inside(c, f.quiet, func(_ context.Context, _ *lab.Lab, r demo.Report) error {
		return printReport(c, f, r)
	})
}

// inside moves this program into namespaces of its own, makes a lab there,
// probes it, and hands both to then. The context is one that signals end.
func inside(c *cobra.Command, quiet bool, then func(context.Context, *lab.Lab, demo.Report) error) error {
	if err := lab.CheckPrerequisites(); err != nil {
		return err
	}
	program, err := findProgram()
	if err != nil {
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
	l, r, err := probedLab(ctx, program, c.ErrOrStderr(), quiet)
	if l != nil {
		defer l.Close()
	}
	if ctx.Err() != nil {
		return fail("", "interrupted; the lab is gone")
	}
	if err != nil {
		return errors.Join(err, r.WriteText(c.ErrOrStderr()))
	}
	return then(ctx, l, r)
}

func probedLab(ctx context.Context, program string, steps io.Writer, quiet bool) (*lab.Lab, demo.Report, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeLimit, fmt.Errorf("the lab has not ended within %s", timeLimit))
	defer cancel()
	o := lab.Options{Binary: program}
	if !quiet {
		o.Log = steps
	}
	l, err := lab.New(ctx, o)
	if err != nil {
		return nil, demo.Report{}, err
	}
	r, err := demo.Run(ctx, l)
	return l, r, err
}

func printReport(c *cobra.Command, f flags, r demo.Report) error {
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
		hint := "gatelodge lab --keep leaves it running, for you to look into"
		if f.keep {
			hint = "gatelodge lab shell HOST"
		}
		return fail(hint, "%d of %d probes of the lab failed", n, len(r.Results))
	}
	return nil
}
