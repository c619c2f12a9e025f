// Package cli holds the commands: one file each, their text and JSON, their
// hints and exit codes.
package cli

import (
	"context"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/cli/command"
	"github.com/gatelodge/gatelodge/internal/cli/gateside"
	"github.com/gatelodge/gatelodge/internal/cli/homeside"
)

// Version is set by the linker.
var Version = "dev"

// Main is the program: it returns the exit code.
func Main(args []string) int {
	// The daemon itself takes SIGHUP for the wish to read its file again.
	signals := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}
	if isRun(args) {
		signals = signals[:2]
	}
	ctx, release := command.UntilStopped(os.Stderr, signals...)
	defer release()
	return Run(ctx, args, os.Stdin, os.Stdout, os.Stderr)
}

// isRun reports whether the command line is that of the daemon.
func isRun(args []string) bool {
	for i := 0; i < len(args); i++ {
		switch {
		case args[i] == "--root":
			i++ // its value
		case !strings.HasPrefix(args[i], "-"):
			return args[i] == "run"
		}
	}
	return false
}

// Run carries out one command line and returns its exit code.
func Run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	a := &command.App{Version: Version, In: in, Out: out, ErrOut: errOut}
	root := tree(a)
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := command.Stopped(ctx, root.ExecuteContext(ctx), "gatelodge status says how things stand")
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

At home:      gatelodge init root@VPS && gatelodge expose 443
Or by hand:   gatelodge gate init and gatelodge gate invite NAME on the VPS,
              gatelodge join and gatelodge expose 443 at home
To try it:    gatelodge lab

Every command takes --root DIR, a prefix for /etc, /var/lib and /run, so that
several instances can live on one machine.`,
		Version:       Version,
		Args:          command.Commands,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	command.Text(root.PersistentFlags(), &a.Root, "root", "/", "prefix for /etc, /var/lib and /run, so that several instances can live on one machine")
	if err := root.PersistentFlags().MarkHidden("root"); err != nil {
		panic(err) // the flag is defined one line above
	}
	addGroup(root, "Set up:", homeside.Init(a), homeside.Join(a), homeside.Leave(a), gateside.Gate(a))
	addGroup(root, "Publish, at home:", homeside.Expose(a), homeside.Unexpose(a))
	addGroup(root, "See how it stands:", statusCommand(a), doctorCommand(a), logsCommand(a), versionCommand(a))
	addGroup(root, "Change the file by hand:", checkCommand(a), planCommand(a), applyCommand(a), gateside.Confirm(a))
	addGroup(root, "This machine:", upCommand(a), downCommand(a), runCommand(a), installCommand(a), uninstallCommand(a))
	addGroup(root, "To try it:", newLabCommand())
	command.InOurWords(root)
	return root
}

// addGroup adds commands that belong to one task, in their order, under its title.
func addGroup(root *cobra.Command, title string, commands ...*cobra.Command) {
	root.AddGroup(&cobra.Group{ID: title, Title: title})
	for _, c := range commands {
		c.GroupID = title
		root.AddCommand(c)
	}
}
