package cli

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/daemon"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/status"
	"github.com/gatelodge/gatelodge/internal/store"
)

func (a *app) exposeCommand() *cobra.Command {
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
			return a.alone(c.Context(), func() error { return a.expose(c.Context(), f) })
		},
	}
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

func (a *app) expose(ctx context.Context, f config.NewForward) error {
	if err := checkForward(f); err != nil {
		return err
	}
	before, err := a.readHome()
	if err != nil {
		return err
	}
	if f.Name == "" {
		f.Name = freeName(before, f.Ports[0])
	}
	after, err := config.AddForward(before, f)
	if err != nil {
		return err
	}
	file := a.paths().ConfigFile(plan.Home)
	if _, err := config.ParseHome(file, after); err != nil {
		return fmt.Errorf("nothing was changed, because %s would no longer be valid:\n%w", file, err)
	}
	if err := store.ReplaceFile(file, after); err != nil {
		return err
	}
	return a.publish(ctx, f, before)
}

// checkForward answers a wrong word on the command line as what it is, before
// the file comes into it.
func checkForward(f config.NewForward) error {
	bad := func(err error) error { return fail(exitUsage, "gatelodge expose --help", "%w", err) }
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

// publish hands the change to the daemon, and takes it back where the gate
// says no: a forward that cannot be must not stay in the file.
func (a *app) publish(ctx context.Context, wanted config.NewForward, before []byte) error {
	name := wanted.Name
	r, err := a.client().Apply(ctx, daemon.ApplyRequest{})
	if errors.Is(err, daemon.ErrNotRunning) {
		a.printf("%s is in home.toml; it will be published by: gatelodge up\n", name)
		return nil
	}
	if err != nil {
		return errors.Join(err, a.restore(ctx, before))
	}
	f, ok := findForward(r.Report, name)
	if !ok {
		return errors.Join(fail(exitFailed, "gatelodge status", "the daemon does not know %s", name), a.restore(ctx, before))
	}
	switch f.State {
	case status.Refused:
		if err := a.restore(ctx, before); err != nil {
			return err
		}
		return fail(exitFailed, "the owner of the gate decides in its gate.toml; home.toml is as it was", "the gate refuses %s: %s", name, f.Reason)
	case status.Pending:
		if f.Reason != "" {
			if err := a.restore(ctx, before); err != nil {
				return err
			}
			return fail(exitFailed, "try again once that is fixed; home.toml is as it was", "%s cannot be published: %s", name, f.Reason)
		}
		a.printf("%s is in home.toml; the gate has not answered yet, it will be published when it does\n", name)
	default:
		a.announce(ctx, wanted, f, r.Report)
	}
	return nil
}

func (a *app) restore(ctx context.Context, before []byte) error {
	if err := store.ReplaceFile(a.paths().ConfigFile(plan.Home), before); err != nil {
		return fmt.Errorf("home.toml could not be put back as it was: %w", err)
	}
	if _, err := a.client().Apply(ctx, daemon.ApplyRequest{}); err != nil && !errors.Is(err, daemon.ErrNotRunning) {
		return fmt.Errorf("home.toml is as it was, but could not be applied again: %w", err)
	}
	return nil
}

func (a *app) unexposeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "unexpose NAME",
		Short: "Publish a forward no longer, and end its connections",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.alone(c.Context(), func() error { return a.unexpose(c.Context(), args[0]) })
		},
	}
}

func (a *app) unexpose(ctx context.Context, name string) error {
	before, err := a.readHome()
	if err != nil {
		return err
	}
	after, err := config.RemoveForward(before, name)
	if err != nil {
		return err
	}
	if err := store.ReplaceFile(a.paths().ConfigFile(plan.Home), after); err != nil {
		return err
	}
	_, err = a.client().Apply(ctx, daemon.ApplyRequest{})
	if err != nil && !errors.Is(err, daemon.ErrNotRunning) {
		return fmt.Errorf("%s is out of home.toml, but the change could not be applied: %w", name, err)
	}
	a.printf("%s is published no longer\n", name)
	return nil
}

// readHome returns home.toml, valid as it stands.
func (a *app) readHome() ([]byte, error) {
	role, err := a.paths().Role()
	if err != nil {
		return nil, err
	}
	if role != plan.Home {
		return nil, fail(exitFailed, "run it at home", "this machine is a gate: homes decide what they publish")
	}
	file := a.paths().ConfigFile(plan.Home)
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	_, err = config.ParseHome(file, data)
	return data, err
}

// freeName makes a name from a port that no forward of the file has.
func freeName(data []byte, port string) string {
	h, err := config.ParseHome("home.toml", data)
	if err != nil {
		return "port"
	}
	taken := map[string]bool{}
	for _, f := range h.Forwards {
		taken[f.Name] = true
	}
	digits, _, _ := strings.Cut(port, "/")
	base := "port-" + strings.ReplaceAll(digits, ":", "-")
	for name, n := base, 2; ; name, n = base+"-"+strconv.Itoa(n), n+1 {
		if !taken[name] {
			return name
		}
	}
}

// publicAddrs lists where visitors of a forward arrive: the gate's addresses of
// the families that the forward and the tunnel have.
func publicAddrs(t status.Tunnel, f status.Forward) []netip.Addr {
	var list []netip.Addr
	for _, addr := range t.Public {
		family, same := "IPv6", netip.Addr.Is6
		if addr.Is4() {
			family, same = "IPv4", netip.Addr.Is4
		}
		if strings.Contains(f.Families, family) && slices.ContainsFunc(t.Addresses, same) {
			list = append(list, addr)
		}
	}
	return list
}

// publicText shows them.
func publicText(public []netip.Addr, families string) string {
	if len(public) == 0 {
		return "no address of the gate, as it takes visitors by " + families + " only"
	}
	text := make([]string, len(public))
	for i, addr := range public {
		text[i] = addr.String()
	}
	return strings.Join(text, " and ")
}

func targetText(f status.Forward) string {
	to := "this host"
	if f.To != "" {
		to = f.To
	}
	if f.Source == forward.Masquerade.String() {
		to += " (masqueraded: the service does not see visitors' addresses)"
	}
	return to
}
