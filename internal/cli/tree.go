package cli

import (
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// Command returns the tree of all commands, for what is made from it: manual
// pages and completions. To carry out a command line, call Run.
func Command() *cobra.Command {
	a := &app{in: strings.NewReader(""), out: io.Discard, errOut: io.Discard}
	return a.tree()
}
