package homeside

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/cli/command"
	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/edit"
	"github.com/gatelodge/gatelodge/internal/status"
)

// Expose returns the command of that name.
func Expose(a *command.App) *cobra.Command {
	var f config.NewForward
	var limit struct {
		rate        string
		connections uint32
	}
	c := &cobra.Command{
		Use:   "expose PORT...",
		Short: "Publish ports of this home at the gate",
		Long: `Expose adds a forward to home.toml, leaving the rest of the file as it is, and
publishes it. A PORT is one of

  443                both TCP and UDP (HTTP/3)
  80/tcp             one protocol
  25565-25570/udp    a range
  2222:22/tcp        port 2222 at the gate is port 22 here

If the gate refuses, home.toml is left as it was.`,
		Example: "  gatelodge expose 80/tcp 443 --name web\n  gatelodge expose 25565 --to 192.168.1.20",
		Args:    command.Some(1, 0, "a port: gatelodge expose 443"),
		RunE: func(c *cobra.Command, args []string) error {
			var err error
			if f.Ports, err = readPorts(args); err != nil {
				return command.Usage(c, err)
			}
			f.NewConnections, f.Connections = limit.rate, limit.connections
			return exposeForward(c.Context(), a, f)
		},
	}
	a.JSONFlag(c, "print the forward as JSON")
	command.Text(c.Flags(), &f.Name, "name", "", "name of the forward (default: made from its first port)")
	command.Text(c.Flags(), &f.To, "to", "", "address of another device that runs the service, or one of this host's own (default: this host)")
	command.Text(c.Flags(), &f.Source, "source", "", `which address the service sees: "preserve" (the visitor's), "masquerade" (ours), "auto"`)
	command.List(c.Flags(), &f.Allow, "allow", "addresses or prefixes of the visitors to let in (default: everyone)", nil)
	command.Text(c.Flags(), &limit.rate, "limit-new", "", "new connections a visitor address may open, such as 20/second")
	command.Count(c.Flags(), &limit.connections, "limit-connections", "number of connections", "connections a visitor address may have open")
	return c
}

func exposeForward(ctx context.Context, a *command.App, f config.NewForward) error {
	if err := checkForward(ctx, f); err != nil {
		return command.Fail(command.ExitUsage, "gatelodge expose --help", "%w", err)
	}
	if err := checkTarget(ctx, a, f.To); err != nil {
		return err
	}
	p, err := a.Editor().Publish(ctx, f)
	if err != nil {
		return command.Stopped(ctx, err, strings.Join(f.Ports, " ")+notPublished(err))
	}
	switch {
	case !p.Running:
		a.Printf("%s is in home.toml; it will be published by: gatelodge up\n", p.Name)
	case p.Forward.State == status.Pending:
		a.Printf("%s is in home.toml; the gate has not answered yet: it will be published when the gate does\n", p.Name)
	default:
		announce(ctx, a, f, p.Forward, p.Report)
	}
	return a.Answer(struct {
		Name    string          `json:"name"`
		Running bool            `json:"running"`
		Forward *status.Forward `json:"forward,omitempty"`
	}{p.Name, p.Running, known(p)})
}

// notPublished says how it stands with what was not published.
func notPublished(err error) string {
	if _, ok := errors.AsType[*edit.RevertError](err); ok {
		return " may be published still; to have it as home.toml says: gatelodge apply"
	}
	return " is not published"
}

// known returns what the daemon says of a forward, nil if there is no daemon.
func known(p edit.Published) *status.Forward {
	if !p.Running {
		return nil
	}
	return &p.Forward
}

// Unexpose returns the command of that name.
func Unexpose(a *command.App) *cobra.Command {
	c := &cobra.Command{
		Use:               "unexpose NAME",
		Aliases:           []string{"rm", "remove", "unpublish"},
		Short:             "Stop publishing a forward, and end its connections",
		Args:              command.Some(1, 1, "the name of a forward: gatelodge status lists them"),
		ValidArgsFunction: command.Complete(func(context.Context) []string { return a.Editor().Forwards() }),
		RunE: func(c *cobra.Command, args []string) error {
			name := args[0]
			if err := a.Editor().Unpublish(c.Context(), name); err != nil {
				return err
			}
			a.Printf("%s is no longer published\n", name)
			return a.Answer(struct {
				Removed string `json:"removed"`
			}{name})
		},
	}
	a.JSONFlag(c, "print what was removed as JSON")
	return c
}
