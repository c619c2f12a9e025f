package command

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/gatelodge/gatelodge/internal/terminal"
)

// endLine ends the line of a question that nobody answers any longer.
func (a *App) endLine() { a.Printf("\n") }

// Agree asks, unless told not to.
func (a *App) Agree(ctx context.Context, yes bool, question string) error {
	if yes {
		return nil
	}
	if a.AsJSON {
		return Fail(ExitUsage, "add --yes", "with --json nobody is asked")
	}
	if !terminal.Is(a.In) {
		return Fail(ExitUsage, "add --yes", "there is nobody to ask: the input is not a terminal")
	}
	a.Printf("%s [y/N] ", question)
	line, err := terminal.UnlessStopped(ctx, func() (string, error) { return bufio.NewReader(a.In).ReadString('\n') })
	if err != nil && !errors.Is(err, io.EOF) {
		a.endLine()
		return Stopped(ctx, err, "nothing was changed")
	}
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return Fail(ExitFailed, "", "nothing was changed")
	}
	return nil
}
