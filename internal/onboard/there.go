package onboard

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/internal/problem"
	"github.com/gatelodge/gatelodge/internal/remote"
)

// vps is the gatelodge on the VPS.
type vps struct {
	conn *remote.Conn
	// root stands before every path of it; nothing, unless several instances
	// live there.
	root    string
	program string // where it is below root, or will be
}

// commandTime bounds a command of gatelodge on the VPS: a slow one has half a
// minute to start its daemon.
const commandTime = 2 * time.Minute

// gatelodge carries out a command on the VPS, to its end: one that is stopped
// half-way leaves who knows what. It returns the JSON that the command prints. A
// gatelodge of an earlier version that refuses --json for this command is told to
// do without: of what it does then, only the exit status and its text are known.
func (v *vps) gatelodge(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commandTime)
	defer cancel()
	words := append([]string{v.root + v.program, "--root", v.root + "/"}, args...)
	out, err := v.conn.Root(ctx, remote.Command{Script: `exec "$@"`, Args: append(words, "--json")})
	if speaksNoJSON(err) {
		out, err = v.conn.Root(ctx, remote.Command{Script: `exec "$@"`, Args: words})
	}
	return out, explainThere(err)
}

// revoke makes an invite void, or shuts a home out.
func (v *vps) revoke(ctx context.Context, name string) error {
	_, err := v.gatelodge(ctx, "gate", "revoke", name)
	return err
}

// speaksNoJSON reports whether a gatelodge has refused its command line without
// saying so in JSON: it has done nothing, and does not know --json there.
func speaksNoJSON(err error) bool {
	exit, ok := errors.AsType[*remote.ExitError](err)
	return ok && exit.Status == int(problem.Usage) && typed(exit) == nil
}

// typed returns the error that gatelodge has written on the VPS, nil if it has
// written none that can be read.
func typed(exit *remote.ExitError) *problem.Error {
	var last *problem.Error
	for line := range strings.Lines(exit.Said) {
		if e, err := problem.Parse(strings.TrimSpace(line)); err == nil {
			last = e
		}
	}
	return last
}

// thereError is what gatelodge has said on the VPS.
type thereError struct {
	said string
	exit *remote.ExitError
}

func (e *thereError) Error() string { return e.said }
func (e *thereError) Unwrap() error { return e.exit }

// theVPS gives the machine there the name that it has here: this machine is only
// ever the one that the user sits at.
var theVPS = strings.NewReplacer("this machine", "the VPS", "This machine", "The VPS")

// explainThere passes on what was said on the VPS, by any program there.
func explainThere(err error) error {
	exit, ok := errors.AsType[*remote.ExitError](err)
	if !ok {
		return err
	}
	said, hint := exit.Error(), ""
	if e := typed(exit); e != nil {
		said = theVPS.Replace(e.Error())
		if e.Hint != "" {
			hint = "on the VPS: " + theVPS.Replace(e.Hint)
		}
	}
	return problem.New(problem.Failed, hint, "on the VPS: %w", &thereError{said, exit})
}

// notRunning reports whether the gate's daemon does not run: not that it, or
// the command that asks it, has failed otherwise. Its exit status says so in every version.
func notRunning(err error) bool {
	exit, ok := errors.AsType[*remote.ExitError](err)
	return ok && exit.Status == int(problem.Unreachable)
}
