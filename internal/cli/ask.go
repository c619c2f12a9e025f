package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// agree asks, unless told not to.
func (a *app) agree(ctx context.Context, yes bool, question string) error {
	if yes {
		return nil
	}
	if a.asJSON {
		return fail(exitUsage, "add --yes", "with --json nobody is asked")
	}
	if !onTerminal(a.in) {
		return fail(exitUsage, "add --yes", "there is nobody to ask: the input is not a terminal")
	}
	a.printf("%s [y/N] ", question)
	line, err := unlessStopped(ctx, func() (string, error) { return bufio.NewReader(a.in).ReadString('\n') })
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return fail(exitFailed, "", "nothing was changed")
	}
	return nil
}

// askPassword asks on the terminal. Where there is none, the first line of the
// standard input is the password, as for sudo -S.
func (a *app) askPassword(ctx context.Context, prompt string) (string, error) {
	if !onTerminal(a.in) {
		return unlessStopped(ctx, func() (string, error) { return firstLine(io.LimitReader(a.in, 4096)) })
	}
	terminal, err := openTerminal(a.in.(*os.File)) // onTerminal has made sure of that
	if err != nil {
		return "", err
	}
	fmt.Fprint(a.errOut, prompt)
	password, err := unlessStopped(ctx, terminal.readSecret)
	if ctx.Err() != nil {
		// The reading goes on, and does not put the echo back.
		err = errors.Join(err, terminal.restore())
	}
	fmt.Fprintln(a.errOut)
	return password, err
}

// passwordPrompt says whose password is asked for, in the words of whoever
// started this: anything that the VPS says, its login name too, could make the
// question look like another.
func passwordPrompt(destination string) string {
	return fmt.Sprintf("Password for sudo on the VPS %s (not for this machine): ", destination)
}

// firstLine reads a line, which may be the end without one.
func firstLine(in io.Reader) (string, error) {
	line, err := bufio.NewReader(in).ReadString('\n')
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return strings.TrimSuffix(line, "\n"), err
}

// unlessStopped reads until ctx ends: nothing else would end it, because Ctrl-C
// is a signal that this program catches.
func unlessStopped(ctx context.Context, read func() (string, error)) (string, error) {
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
