package cli

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/cli/command"
)

// Command returns the tree of all commands, for what is made from it: manual
// pages and completions. To carry out a command line, call Run.
func Command() *cobra.Command {
	a := &command.App{In: strings.NewReader(""), Out: io.Discard, ErrOut: io.Discard}
	return tree(a)
}
