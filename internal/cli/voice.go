package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/problem"
	"github.com/gatelodge/gatelodge/internal/terminal"
)

// The exit codes of every command.
const (
	exitOK          = 0
	exitFailed      = int(problem.Failed)
	exitUsage       = int(problem.Usage)
	exitDiffers     = int(problem.Differs) // plan: the machine is not as wanted
	exitPrivilege   = int(problem.Privilege)
	exitUnreachable = int(problem.Unreachable) // the other side, or the daemon, does not answer
)

func usage(c *cobra.Command, err error) error {
	return fail(exitUsage, c.CommandPath()+" --help", "%w", err)
}

func fail(code int, hint, format string, args ...any) error {
	return problem.New(problem.Kind(code), hint, format, args...)
}

// report prints an error in the program's voice, or as one line of JSON, and
// returns its exit code. Both go to the standard error: what a command prints on
// its standard output is its answer, whole or not at all.
func report(w io.Writer, err error, asJSON bool) int {
	p := classify(err)
	if asJSON {
		if line, err := p.JSON(); err == nil {
			fmt.Fprintf(w, "%s\n", line)
			return int(p.Kind)
		}
	}
	for line := range strings.Lines(strings.TrimRight(p.Error(), "\n") + "\n") {
		fmt.Fprintln(w, "gatelodge: error:", terminal.Line(line))
	}
	if p.Hint != "" {
		fmt.Fprintln(w, "gatelodge: hint:", terminal.Line(p.Hint))
	}
	return int(p.Kind)
}

// classify finds the exit code and the hint of an error, also of one that no
// command has given any.
func classify(err error) *problem.Error {
	code, hint := exitFailed, ""
	var given *problem.Error
	var refused *local.RefusedError
	var invalid config.Errors
	switch {
	case errors.As(err, &given):
		code, hint = int(given.Kind), given.Hint
	case errors.As(err, &refused):
		hint = refused.Hint
	case errors.Is(err, layout.ErrNoRole):
		hint = "on the VPS: gatelodge gate init; at home: gatelodge join INVITE"
	case errors.Is(err, local.ErrNotRunning):
		code, hint = exitUnreachable, "gatelodge up"
	case errors.Is(err, fs.ErrPermission):
		code, hint = exitPrivilege, "run it as root: sudo gatelodge …"
	case strings.HasPrefix(err.Error(), "unknown command"):
		code, hint = exitUsage, "gatelodge --help"
	case errors.As(err, &invalid):
		hint = "fix the file and run: gatelodge check"
	}
	return &problem.Error{Err: err, Hint: hint, Kind: problem.Kind(code)}
}

// printf is for the answer where a person reads it.
func (a *app) printf(format string, args ...any) {
	if !a.asJSON {
		fmt.Fprintf(a.out, format, args...)
	}
}

// notef is for what is worth saying but not part of the answer.
func (a *app) notef(format string, args ...any) {
	fmt.Fprintf(a.errOut, "gatelodge: "+format+"\n", args...)
}

// answer prints v where a program reads it; for people the command has printed
// its answer already.
func (a *app) answer(v any) error {
	if !a.asJSON {
		return nil
	}
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// counted puts a number before what there is so many of.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
