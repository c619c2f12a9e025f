package homeside

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/cli/command"
	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/edit"
	"github.com/gatelodge/gatelodge/internal/forward"
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
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			f.Ports = splitPorts(args)
			f.NewConnections, f.Connections = limit.rate, limit.connections
			return exposeForward(c.Context(), a, f)
		},
	}
	a.JSONFlag(c, "print the forward as JSON")
	c.Flags().StringVar(&f.Name, "name", "", "name of the forward (default: made from its first port)")
	c.Flags().StringVar(&f.To, "to", "", "address of another device that runs the service, or one of this host's own (default: this host)")
	c.Flags().StringVar(&f.Source, "source", "", `which address the service sees: "preserve" (the visitor's), "masquerade" (ours), "auto"`)
	c.Flags().StringSliceVar(&f.Allow, "allow", nil, "addresses or prefixes of the visitors to let in (default: everyone)")
	c.Flags().StringVar(&limit.rate, "limit-new", "", "new connections a visitor address may open, such as 20/second")
	c.Flags().Uint32Var(&limit.connections, "limit-connections", 0, "connections a visitor address may have open")
	return c
}

// splitPorts also takes ports joined by commas.
func splitPorts(args []string) []string {
	var ports []string
	for _, arg := range args {
		for p := range strings.SplitSeq(arg, ",") {
			if p != "" {
				ports = append(ports, p)
			}
		}
	}
	return ports
}

func exposeForward(ctx context.Context, a *command.App, f config.NewForward) error {
	if err := checkForward(f); err != nil {
		return err
	}
	p, err := a.Editor().Publish(ctx, f)
	if err != nil {
		return err
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

// known returns what the daemon says of a forward, nil if there is no daemon.
func known(p edit.Published) *status.Forward {
	if !p.Running {
		return nil
	}
	return &p.Forward
}

// checkForward answers a wrong word on the command line as what it is, before
// the file comes into it.
func checkForward(f config.NewForward) error {
	bad := func(err error) error { return command.Fail(command.ExitUsage, "gatelodge expose --help", "%w", err) }
	for _, p := range f.Ports {
		if _, err := forward.ParseMapping(p); err != nil {
			return bad(err)
		}
	}
	if f.To != "" {
		if _, err := netip.ParseAddr(f.To); err != nil {
			return bad(fmt.Errorf("--to %q is not an IP address", f.To))
		}
	}
	if f.Source != "" {
		if _, err := forward.ParseSource(f.Source); err != nil {
			return bad(err)
		}
	}
	if f.NewConnections != "" {
		if _, err := forward.ParseRate(f.NewConnections); err != nil {
			return bad(err)
		}
	}
	if f.Name != "" {
		if err := forward.CheckName(f.Name); err != nil {
			return bad(err)
		}
	}
	return nil
}

// Unexpose returns the command of that name.
func Unexpose(a *command.App) *cobra.Command {
	c := &cobra.Command{
		Use:   "unexpose NAME",
		Short: "Stop publishing a forward, and end its connections",
		Args:  cobra.ExactArgs(1),
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
