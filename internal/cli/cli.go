// Package cli holds the commands: one file each, their text and JSON, their
// hints and exit codes.
package cli

import (
	"context"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/daemon"
	"github.com/gatelodge/gatelodge/internal/edit"
	"github.com/gatelodge/gatelodge/internal/instance"
	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/local"
)

// Version is set by the linker.
var Version = "dev"

// app is what all commands share: the instance, and whom they talk to.
type app struct {
	root   string
	in     io.Reader
	out    io.Writer
	errOut io.Writer
	// asJSON has all that is printed be JSON, errors too.
	asJSON bool
}

// Run carries out one command line and returns its exit code.
func Run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	a := &app{in: in, out: out, errOut: errOut}
	root := a.tree()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	// A command line that cannot be read is answered as it asks to be.
	return report(errOut, err, a.asJSON || slices.Contains(args, "--json"))
}

// tree returns all commands.
func (a *app) tree() *cobra.Command {
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
	root.PersistentFlags().StringVar(&a.root, "root", "/", "prefix for /etc, /var/lib and /run, so that several instances can live on one machine")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage(c, err) })
	root.AddCommand(
		gateCommand(a), joinCommand(a), exposeCommand(a), unexposeCommand(a),
		statusCommand(a), checkCommand(a), planCommand(a), applyCommand(a), confirmCommand(a),
		upCommand(a), downCommand(a), runCommand(a), newLabCommand(),
		doctorCommand(a), initCommand(a), installCommand(a), uninstallCommand(a),
	)
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

func (a *app) paths() layout.Paths { return layout.Paths{Root: a.root} }

func (a *app) client() *local.Client { return a.instance().Client() }

func (a *app) instance() instance.Instance {
	return instance.Instance{Paths: a.paths(), Note: func(text string) { a.notef("%s", text) }}
}

func (a *app) editor() edit.Editor {
	return edit.Editor{Paths: a.paths(), Daemon: a.client(), Waits: func(holder string) { a.notef("waiting for %s", holder) }}
}

// options are what the daemon's parts need to know that a command carries out
// itself.
func (a *app) options(ctx context.Context) (daemon.Options, error) {
	owner, err := a.instance().Owner(ctx)
	return daemon.Options{Paths: a.paths(), Version: Version, Log: a.logger(), Owner: owner}, err
}

// jsonFlag gives a command --json.
func (a *app) jsonFlag(c *cobra.Command, usage string) {
	c.Flags().BoolVar(&a.asJSON, "json", false, usage)
}
