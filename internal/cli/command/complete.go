package command

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

// completeTime is how long somebody who has pressed Tab may have to wait.
const completeTime = time.Second

// Complete completes an argument to one of the names there are. None are offered
// twice, no files ever, and what cannot be found out in time is not said.
func Complete(names func(ctx context.Context) []string) cobra.CompletionFunc {
	return func(c *cobra.Command, given []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		parent := c.Context()
		if parent == nil {
			parent = context.Background()
		}
		ctx, cancel := context.WithTimeout(parent, completeTime)
		defer cancel()
		left := slices.DeleteFunc(names(ctx), func(name string) bool { return slices.Contains(given, name) })
		return left, cobra.ShellCompDirectiveNoFileComp
	}
}

// Nothing is for commands whose arguments nobody can guess: no files are offered.
func Nothing(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveNoFileComp
}
