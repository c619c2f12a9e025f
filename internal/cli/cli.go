// Package cli holds the commands: one file each, their text and JSON, their
// hints and exit codes.
package cli

import (
	"context"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/cli/command"
	"github.com/gatelodge/gatelodge/internal/cli/gateside"
	"github.com/gatelodge/gatelodge/internal/cli/homeside"
)

// Version is set by the linker.
var Version = "dev"

// Run carries out one command line and returns its exit code.
func Run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	a := &command.App{Version: Version, In: in, Out: out, ErrOut: errOut}
	root := tree(a)
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return command.ExitOK
	}
	// A command line that cannot be read is answered as it asks to be.
	return command.Report(errOut, err, a.AsJSON || slices.Contains(args, "--json"))
}

// tree returns all commands.
func tree(a *command.App) *cobra.Command {
	root := &cobra.Command{
		Use:   "gatelodge",
		Short: "Make a server at home reachable from the internet through a cheap VPS",
		Long: `Gatelodge makes a server at home, behind NAT or CGNAT, reachable from the
internet through a cheap VPS. WireGuard joins the two, nftables on the VPS
forwards chosen ports; visitors keep their own addresses, and TLS keys and
services stay at home.

On the VPS:   gatelodge gate init && gatelodge gate invite NAME
At home:      gatelodge join INVITE && gatelodge expose 443
To try it:    gatelodge lab`,
		Version:       Version,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.PersistentFlags().StringVar(&a.Root, "root", "/", "prefix for /etc, /var/lib and /run, so that several instances can live on one machine")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return command.Usage(c, err) })
	root.AddCommand(
		gateside.Gate(a), homeside.Join(a), homeside.Expose(a), homeside.Unexpose(a),
		statusCommand(a), checkCommand(a), planCommand(a), applyCommand(a), gateside.Confirm(a),
		upCommand(a), downCommand(a), runCommand(a), newLabCommand(),
		doctorCommand(a), homeside.Init(a), installCommand(a), uninstallCommand(a),
	)
	checkArguments(root)
	return root
}

// checkArguments makes every wrong number of arguments a usage error.
func checkArguments(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return command.Usage(c, err)
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		checkArguments(sub)
	}
}
