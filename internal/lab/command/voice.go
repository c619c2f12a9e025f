package command

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/printable"
)

// The exit codes, which are those of gatelodge.
const (
	exitOK        = 0
	exitFailed    = 1
	exitUsage     = 2
	exitPrivilege = 4
)

// failure is an error with the next command to try and an exit code.
type failure struct {
	err  error
	hint string
	code int
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func fail(hint, format string, args ...any) error {
	return &failure{err: fmt.Errorf(format, args...), hint: hint, code: exitFailed}
}

func usage(c *cobra.Command, err error) error {
	name := strings.Replace(c.CommandPath(), "gatelodge-lab", "gatelodge lab", 1)
	return &failure{err: err, hint: name + " --help", code: exitUsage}
}

// report prints an error in the voice of gatelodge, since most ask for the lab
// with its name, and returns the exit code.
func report(w io.Writer, err error) int {
	code, hint := classify(err)
	for line := range strings.Lines(strings.TrimRight(err.Error(), "\n") + "\n") {
		fmt.Fprintln(w, "gatelodge: error:", shown(line))
	}
	if hint != "" {
		fmt.Fprintln(w, "gatelodge: hint:", shown(hint))
	}
	return code
}

// shown makes a line fit for the terminal, no matter whose words have come into it.
func shown(line string) string {
	const most = 4000 // bytes
	line = strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "\t", " ")
	return printable.Line(line, most)
}

func classify(err error) (code int, hint string) {
	if f, ok := errors.AsType[*failure](err); ok {
		return f.code, f.hint
	}
	if errors.Is(err, fs.ErrPermission) {
		return exitPrivilege, "run it as root: sudo gatelodge lab"
	}
	return exitFailed, ""
}
