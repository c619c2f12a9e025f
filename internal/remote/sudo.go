package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ErrNoRoot is returned where the user who logged in cannot become root.
var ErrNoRoot = errors.New("cannot become root with sudo")

// Rise makes sure that commands can run as root. If sudo on the VPS asks for a
// password, so does ask; it goes to sudo's standard input, never into a
// command line.
func (c *Conn) Rise(ctx context.Context, ask func() (string, error)) error {
	if !c.elevate {
		return nil
	}
	if _, err := c.Run(ctx, Command{Script: `command -v sudo`}); err != nil {
		return fmt.Errorf("%s is not root on the VPS, and there is no sudo: %w", c.user, ErrNoRoot)
	}
	// -k: a password given elsewhere a minute ago would run out half-way.
	if _, err := c.Run(ctx, Command{Script: `sudo -k -n true`}); err == nil {
		return nil
	}
	password, err := ask()
	if err != nil {
		return err
	}
	if password == "" {
		return fmt.Errorf("%s is not root on the VPS, its sudo asks for a password, and none was given: %w", c.user, ErrNoRoot)
	}
	c.password = password
	if _, err := c.Root(ctx, Command{Script: `true`}); err != nil {
		c.password = ""
		return fmt.Errorf("%s on the VPS: %w: %w", c.user, ErrNoRoot, err)
	}
	return nil
}

// guard keeps the password out of everything but sudo: should sudo not have
// read it after all, it is the first line here, and nothing is run.
const guard = `read -r first; [ "$first" = begin ] || { echo "sudo did not read its password" >&2; exit 97; }; exec "$@"`

// Root runs a command on the VPS as root, and returns what it prints.
func (c *Conn) Root(ctx context.Context, r Command) (string, error) {
	if !c.elevate {
		return c.Run(ctx, r)
	}
	// A gate keeps the port of the session that sets it up open; sudo would
	// take away where that one came from.
	line, mark := words(r)
	line = `env SSH_CONNECTION="$SSH_CONNECTION" ` + line
	if c.password == "" {
		return c.answer(ctx, "sudo -k -n -- "+line, mark, r.Input)
	}
	input := io.Reader(strings.NewReader(c.password + "\nbegin\n"))
	if r.Input != nil {
		input = io.MultiReader(input, r.Input)
	}
	return c.answer(ctx, "sudo -k -S -p '' -- "+Quote("sh", "-c", guard, "sh")+" "+line, mark, input)
}
