package command

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
	"github.com/gatelodge/gatelodge/internal/view"
)

// The exit codes of every command.
const (
	ExitOK          = 0
	ExitFailed      = int(problem.Failed)
	ExitUsage       = int(problem.Usage)
	ExitDiffers     = int(problem.Differs) // plan: the machine is not as wanted
	ExitPrivilege   = int(problem.Privilege)
	ExitUnreachable = int(problem.Unreachable) // the other side, or the daemon, does not answer
)

// Usage returns the error of a command line that is wrong.
func Usage(c *cobra.Command, err error) error {
	return Fail(ExitUsage, c.CommandPath()+" --help", "%w", err)
}

// Fail returns an error with its exit code and the next command to try, "" for none.
func Fail(code int, hint, format string, args ...any) error {
	return problem.New(problem.Kind(code), hint, format, args...)
}

// Outcome is the exit code of a command that has said all in its answer, and has
// not failed: that the machine differs from the file (plan), or that not all is well
// (status). Nothing more is printed for it.
type Outcome int

// Error implements error.
func (o Outcome) Error() string { return fmt.Sprintf("exit code %d", int(o)) }

// Report prints an error in the program's voice, or as one line of JSON, and
// returns its exit code. Both go to the standard error: what a command prints on
// its standard output is its answer, whole or not at all.
func Report(w io.Writer, err error, asJSON bool) int {
	if outcome, ok := err.(Outcome); ok {
		return int(outcome)
	}
	p := Classify(err)
	if asJSON {
		if line, err := p.JSON(); err == nil {
			fmt.Fprintf(w, "%s\n", line)
			return int(p.Kind)
		}
	}
	lead := "gatelodge: error:"
	if _, wanted := err.(*stopped); wanted {
		lead = "gatelodge:" // it is what its owner wanted
	}
	for line := range strings.Lines(strings.TrimRight(p.Error(), "\n") + "\n") {
		fmt.Fprintln(w, lead, terminal.Line(line))
	}
	if p.Hint != "" {
		fmt.Fprintln(w, "gatelodge: hint:", terminal.Line(p.Hint))
	}
	return int(p.Kind)
}

// Classify finds the exit code and the hint of an error, also of one that no
// command has given any.
func Classify(err error) *problem.Error {
	code, hint := ExitFailed, ""
	var given *problem.Error
	var refused *local.RefusedError
	var invalid config.Errors
	var stop *StoppedError
	switch {
	case errors.As(err, &stop):
		code = int(stop.code())
	case errors.As(err, &given):
		code, hint = int(given.Kind), given.Hint
	case errors.As(err, &refused):
		hint = refused.Hint
	case errors.Is(err, layout.ErrNoRole):
		hint = "at home: gatelodge init root@VPS, or gatelodge join with an invite; on a VPS by hand: gatelodge gate init"
	case errors.Is(err, local.ErrNotRunning):
		code, hint = ExitUnreachable, "gatelodge up"
	case errors.Is(err, fs.ErrPermission):
		code, hint = ExitPrivilege, "run it as root: sudo gatelodge …"
	case errors.As(err, &invalid):
		hint = "fix the file and run: gatelodge check"
	}
	return &problem.Error{Err: err, Hint: hint, Kind: problem.Kind(code)}
}

// Printf is for the answer where a person reads it.
func (a *App) Printf(format string, args ...any) {
	if !a.AsJSON {
		fmt.Fprintf(a.Out, format, args...)
	}
}

// Notef is for what is worth saying but not part of the answer.
func (a *App) Notef(format string, args ...any) {
	fmt.Fprintf(a.ErrOut, "gatelodge: "+format+"\n", args...)
}

// Answer prints v where a program reads it; for people the command has printed
// its answer already.
func (a *App) Answer(v any) error {
	if !a.AsJSON {
		return nil
	}
	e := json.NewEncoder(a.Out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// Style says how text is written to where the answer goes.
func (a *App) Style() view.Style { return terminal.StyleOf(a.Out) }

// PrintLines is for an answer of several lines where a person reads it.
func (a *App) PrintLines(lines []string) {
	for _, l := range lines {
		a.Printf("%s\n", l)
	}
}

// Counted puts a number before what there is so many of.
func Counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
