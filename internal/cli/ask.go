package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/gatelodge/gatelodge/internal/terminal"
)

// agree asks, unless told not to.
func (a *app) agree(ctx context.Context, yes bool, question string) error {
	if yes {
		return nil
	}
	if a.asJSON {
		return fail(exitUsage, "add --yes", "with --json nobody is asked")
	}
	if !terminal.Is(a.in) {
		return fail(exitUsage, "add --yes", "there is nobody to ask: the input is not a terminal")
	}
	a.printf("%s [y/N] ", question)
	line, err := terminal.UnlessStopped(ctx, func() (string, error) { return bufio.NewReader(a.in).ReadString('\n') })
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return fail(exitFailed, "", "nothing was changed")
	}
	return nil
}

// passwordPrompt says whose password is asked for, in the words of the user who
// started this: anything that the VPS says, its login name too, could make the
// question look like another.
func passwordPrompt(destination string) string {
	return fmt.Sprintf("Password for sudo on the VPS %s (not for this machine): ", destination)
}
