// Package command is the command line of gatelodge-lab: its commands, hints and
// exit codes, in the voice of gatelodge itself, which hands over to it.
package command

import (
	"context"
	"io"

	"github.com/spf13/cobra"
)

// Version is set by the linker.
var Version = "dev"

// Run carries out one command line and returns its exit code.
func Run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	root := Tree()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	if err := root.ExecuteContext(ctx); err != nil {
		return report(errOut, err)
	}
	return exitOK
}

// Tree returns all commands, for what is made from them: manual pages and
// completions. To carry out a command line, call Run.
func Tree() *cobra.Command {
	var f flags
	root := &cobra.Command{
		Use:   "gatelodge-lab",
		Short: "The whole of Gatelodge on this one machine, in network namespaces",
		Long: `The lab makes a small internet in network namespaces: a visitor, a gate, two
homes behind a carrier-grade NAT, a device in a home's LAN and a container. The
real gatelodge runs in it as gate and as homes. The lab then probes, as a
visitor, what can be reached and which address each service sees.

It touches nothing of this machine's network, and needs no root where the
kernel allows user namespaces. All is gone when it ends; with --keep it runs
until "gatelodge lab down".

"gatelodge lab" is the same command. The gatelodge in the lab is the one that
ran this command, or else the one beside this program or in PATH.`,
		Version:       Version,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if f.keep {
				return keep(c, f)
			}
			return run(c, f)
		},
	}
	root.Flags().BoolVar(&f.keep, "keep", false, "leave the lab running in the background")
	root.Flags().BoolVar(&f.json, "json", false, "print the report as JSON")
	root.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "print the report only, not the steps")
	root.SetFlagErrorFunc(usage)
	root.AddCommand(shellCommand(), statusCommand(), downCommand(), holdCommand())
	checkArguments(root)
	return root
}

// checkArguments makes every wrong number of arguments a usage error.
func checkArguments(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return usage(c, err)
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		checkArguments(sub)
	}
}
