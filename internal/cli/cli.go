// Package cli holds the commands: one file each, their text and JSON, their
// hints and exit codes.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/daemon"
	"github.com/gatelodge/gatelodge/internal/printable"
)

// The exit codes of every command.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitDiffers     = 3 // plan: the machine is not as wanted
	exitPrivilege   = 4
	exitUnreachable = 5 // the other side, or the daemon, does not answer
)

// Version is set by the linker.
var Version = "dev"

// app is what all commands share.
type app struct {
	root   string
	in     io.Reader
	out    io.Writer
	errOut io.Writer
}

// Run carries out one command line and returns its exit code.
func Run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	a := &app{in: in, out: out, errOut: errOut}
	root := a.command()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	return report(errOut, err)
}

func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "gatelodge",
		Short: "Make a server at home reachable from the internet through a cheap VPS",
		Long: `Gatelodge makes a server at home, behind NAT or CGNAT, reachable from the
internet through a cheap VPS. WireGuard joins the two, nftables on the VPS
forwards chosen ports; visitors keep their own addresses, and TLS keys and
services stay at home.

On the VPS:   gatelodge gate init && gatelodge gate invite NAME
At home:      gatelodge join INVITE && gatelodge expose 443
To try it:    gatelodge lab`,
		Version:       Version,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.PersistentFlags().StringVar(&a.root, "root", "/", "prefix for /etc, /var/lib and /run, so that several instances can live on one machine")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage(c, err) })
	root.AddCommand(
		a.gateCommand(), a.joinCommand(), a.exposeCommand(), a.unexposeCommand(),
		a.statusCommand(), a.checkCommand(), a.planCommand(), a.applyCommand(), a.confirmCommand(),
		a.upCommand(), a.downCommand(), a.runCommand(), newLabCommand(),
		a.doctorCommand(), a.initCommand(), a.installCommand(), a.uninstallCommand(),
	)
	checkArguments(root)
	return root
}

// checkArguments makes every wrong number of arguments a usage error.
func checkArguments(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return usage(c, err)
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		checkArguments(sub)
	}
}

// failure is an error with the next command to try and an exit code.
type failure struct {
	err  error
	hint string
	code int
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func usage(c *cobra.Command, err error) error {
	return &failure{err: err, hint: c.CommandPath() + " --help", code: exitUsage}
}

func fail(code int, hint, format string, args ...any) error {
	return &failure{err: fmt.Errorf(format, args...), hint: hint, code: code}
}

// report prints an error in the program's voice and returns its exit code.
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

// shown makes a line fit for the terminal, whoever's words have come into it:
// the name of a file or of a process, too, may be anything.
func shown(line string) string {
	const most = 4000 // bytes
	line = strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "\t", " ")
	return printable.Line(line, most)
}

// classify finds the exit code and the hint of an error that no command has
// given one.
func classify(err error) (code int, hint string) {
	if f, ok := errors.AsType[*failure](err); ok && f.code != 0 {
		return f.code, f.hint
	}
	if refused, ok := errors.AsType[*daemon.RefusedError](err); ok {
		return exitFailed, refused.Hint
	}
	switch {
	case errors.Is(err, daemon.ErrNoRole):
		return exitFailed, "on the VPS: gatelodge gate init; at home: gatelodge join INVITE"
	case errors.Is(err, daemon.ErrNotRunning):
		return exitUnreachable, "gatelodge up"
	case errors.Is(err, fs.ErrPermission):
		return exitPrivilege, "run it as root: sudo gatelodge …"
	case strings.HasPrefix(err.Error(), "unknown command"):
		return exitUsage, "gatelodge --help"
	}
	if _, ok := errors.AsType[config.Errors](err); ok {
		return exitFailed, "fix the file and run: gatelodge check"
	}
	return exitFailed, ""
}

func (a *app) paths() daemon.Paths { return daemon.Paths{Root: a.root} }

func (a *app) client() *daemon.Client { return daemon.NewClient(a.paths().Socket()) }

func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.out, format, args...) }

// notef is for what is worth saying but not part of the answer.
func (a *app) notef(format string, args ...any) {
	fmt.Fprintf(a.errOut, "gatelodge: "+format+"\n", args...)
}

func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// onTerminal reports whether the stream is a terminal with a person at it.
func onTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
