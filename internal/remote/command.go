package remote

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// ExitError is a command that was carried out there, and failed.
type ExitError struct {
	Status int
	Said   string // on its standard error: its last lines, printable
}

// Error implements error.
func (e *ExitError) Error() string {
	if text := strings.TrimSpace(e.Said); text != "" {
		return text
	}
	return fmt.Sprintf("exit status %d on the VPS, and no message", e.Status)
}

// LostError means that the connection broke: what was begun there may or may
// not have been done.
type LostError struct{ Said string }

// Error implements error.
func (e *LostError) Error() string { return "the connection to the VPS is lost: " + e.Said }

// Command is one to be carried out on the VPS.
type Command struct {
	Script string    // for sh(1)
	Args   []string  // $1 and on, whatever is in them
	Input  io.Reader // nil is nothing
}

// preamble is what an ssh session does not always have, but root does.
const preamble = `PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH LC_ALL=C; `

// Run carries out a command as the user who has logged in, and returns what it
// prints.
func (c *Conn) Run(ctx context.Context, r Command) (string, error) {
	line, mark := words(r)
	return c.answer(ctx, line, mark, r.Input)
}

// words are those of a command, for any login shell, and the mark that it
// prints before all else.
func words(r Command) (line, mark string) {
	mark = rand.Text()
	return Quote(append([]string{"sh", "-c", preamble + "echo " + mark + "; " + r.Script, "sh"}, r.Args...)...), mark
}

// answer carries out a command line, and returns what it prints after its
// mark. What comes before is no answer: a login script has printed it.
func (c *Conn) answer(ctx context.Context, line, mark string, in io.Reader) (string, error) {
	a := &answer{mark: []byte(mark + "\n")}
	err := c.run(ctx, line, in, a)
	if err == nil && !a.begun {
		return "", fmt.Errorf("the VPS reports success but has not run the command: its answer is %.60q", a.head)
	}
	return a.text.String(), err
}

// run carries out a command line. Its ssh gets a process group of its own, so
// that Ctrl-C reaches this program alone, which then ends things in its order;
// and without a terminal it must not ask for anything.
func (c *Conn) run(ctx context.Context, line string, in io.Reader, out *answer) error {
	ctx, out.stop = context.WithCancelCause(ctx)
	defer out.stop(nil)
	cmd, said := c.ssh(ctx, line, "BatchMode=yes")
	cmd.SysProcAttr.Setpgid = true
	cmd.Stdin, cmd.Stdout = in, out
	err := finish(cmd.Run())
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return err
	}
	if exit.ExitCode() == failedConnection {
		return &LostError{Said: lastLine(said.String())}
	}
	return &ExitError{Status: exit.ExitCode(), Said: said.String()}
}

// Quote makes words for sh(1), and for the other shells that a login may have.
func Quote(list ...string) string {
	quoted := make([]string, len(list))
	for i, w := range list {
		quoted[i] = w
		if w == "" || strings.Trim(w, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-:@%+,=") != "" {
			quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}
