package terminal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// Secret asks for a password: on the terminal, where in is one, without showing
// it. Elsewhere the first line of in is it, as for sudo -S. It returns when ctx
// ends.
func Secret(ctx context.Context, in io.Reader, out io.Writer, prompt string) (string, error) {
	if !Is(in) {
		return UnlessStopped(ctx, func() (string, error) { return FirstLine(io.LimitReader(in, 4096)) })
	}
	fd := int(in.(*os.File).Fd()) // Is has made sure of that
	before, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	fmt.Fprint(out, prompt)
	password, err := UnlessStopped(ctx, func() (string, error) {
		p, err := term.ReadPassword(fd)
		return string(p), err
	})
	if ctx.Err() != nil {
		// The reading goes on, and leaves the echo off.
		err = errors.Join(err, term.Restore(fd, before))
	}
	fmt.Fprintln(out)
	return password, err
}

// FirstLine reads a line, which may be the end without one.
func FirstLine(in io.Reader) (string, error) {
	line, err := bufio.NewReader(in).ReadString('\n')
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return strings.TrimSuffix(line, "\n"), err
}

// UnlessStopped reads until ctx ends: nothing else would end it, because Ctrl-C
// is a signal that this program catches.
func UnlessStopped(ctx context.Context, read func() (string, error)) (string, error) {
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	type answer struct {
		text string
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		text, err := read()
		answers <- answer{text, err}
	}()
	select {
	case a := <-answers:
		return a.text, a.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}
