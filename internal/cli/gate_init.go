package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/daemon"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/survey"
)

// gateInit is what `gate init` can be told.
type gateInit struct {
	yes        bool
	noStart    bool
	endpoints  []string
	prefix4    string
	listenPort uint16
	input      string
}

func (a *app) gateInitCommand() *cobra.Command {
	var o gateInit
	c := &cobra.Command{
		Use:   "init",
		Short: "Make this machine a gate",
		Long: `Init looks at this machine, shows what it found and what it will do, asks,
writes /etc/gatelodge/gate.toml and starts the gate. The ports that sshd
listens on stay open, and can never be forwarded.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.gateInit(c.Context(), o) },
	}
	f := c.Flags()
	f.BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	f.BoolVar(&o.noStart, "no-start", false, "write gate.toml, and do not start")
	f.StringSliceVar(&o.endpoints, "endpoint", nil, "name or address at which homes reach this machine (default: its public addresses)")
	f.StringVar(&o.prefix4, "prefix", "", "IPv4 prefix of the tunnel (default: one that is free here)")
	f.Uint16Var(&o.listenPort, "listen-port", 55107, "UDP port of WireGuard")
	f.StringVar(&o.input, "input", "protect", `"protect" filters what arrives for this machine itself, "leave" does not`)
	return c
}

// gateInit touches nothing before the owner has agreed.
func (a *app) gateInit(ctx context.Context, o gateInit) error {
	if err := a.fresh(); err != nil {
		return err
	}
	if err := host.MayManage(); err != nil {
		return err
	}
	found, err := host.Look(ctx, a.root, sshConnection())
	if err != nil {
		return err
	}
	verdict := survey.Judge(found.Survey, survey.Wish{Here: true, Port: o.listenPort, Leave: o.input == "leave"})
	if err := refused("this machine cannot be a gate: ", verdict.Refusals); err != nil {
		return err
	}
	file, err := o.file(found)
	if err != nil {
		return err
	}
	a.showFound(found, file, verdict)
	if err := a.agree(ctx, o.yes, fmt.Sprintf("Write %s and start the gate?", a.paths().ConfigFile(plan.Gate))); err != nil {
		return err
	}
	// What the look has promised is tried, now that the owner has agreed.
	if err := host.CanRun(ctx); err != nil {
		return err
	}
	if err := a.writeConfig(plan.Gate, config.NewGateFile(file)); err != nil {
		return err
	}
	a.printf("wrote %s\n", a.paths().ConfigFile(plan.Gate))
	if o.noStart {
		a.printf("start it with: gatelodge up\n")
		return nil
	}
	if err := errors.Join(a.enable(ctx), a.up(ctx)); err != nil {
		return err
	}
	a.printf("next: gatelodge gate invite NAME\n")
	return nil
}

// fresh refuses to touch a machine that has a role already.
func (a *app) fresh() error {
	role, err := a.paths().Role()
	switch {
	case errors.Is(err, daemon.ErrNoRole):
		return nil
	case err != nil:
		return err
	}
	return fail(exitFailed, "gatelodge status", "this machine is a %s already: %s stays as it is", role, a.paths().ConfigFile(role))
}

// file decides what gate.toml will say.
func (o gateInit) file(found host.Found) (config.GateDefaults, error) {
	endpoints, err := o.reachableAt(found)
	if err != nil {
		return config.GateDefaults{}, err
	}
	prefix4, err := o.tunnelPrefix(found)
	if err != nil {
		return config.GateDefaults{}, err
	}
	d := config.GateDefaults{
		Endpoints:  endpoints,
		Prefix4:    prefix4,
		ListenPort: o.listenPort,
		SSHPorts:   found.Facts.SSHPorts,
		Input:      o.input,
	}
	if found.Facts.IPv6 {
		d.Prefix6 = randomULA()
	}
	// What is about to be written is read as it will be read later, so that a
	// wrong flag shows now.
	if _, err := config.ParseGate("gate.toml", config.NewGateFile(d)); err != nil {
		return config.GateDefaults{}, fmt.Errorf("these settings make no valid gate.toml: %w", err)
	}
	return d, nil
}

func (o gateInit) reachableAt(found host.Found) ([]string, error) {
	if len(o.endpoints) > 0 {
		return o.endpoints, nil
	}
	var endpoints []string
	for _, addr := range found.Facts.Public {
		if host.Routable(addr) && len(endpoints) < 4 {
			endpoints = append(endpoints, net.JoinHostPort(addr.String(), strconv.Itoa(int(o.listenPort))))
		}
	}
	if len(endpoints) == 0 {
		return nil, fail(exitFailed, "gatelodge gate init --endpoint ADDRESS-OR-NAME",
			"no public address found on this machine (%s): name the address or host name at which homes reach it", listAddrs(found.Facts.Public))
	}
	return endpoints, nil
}

// tunnelPrefix prefers a prefix to which no route of this machine leads, and
// takes one inside a wider route, such as a VPN's, if there is no other.
func (o gateInit) tunnelPrefix(found host.Found) (netip.Prefix, error) {
	candidates := []string{"10.99.0.0/24", "10.119.0.0/24", "172.29.99.0/24", "192.168.209.0/24"}
	if o.prefix4 != "" {
		candidates = []string{o.prefix4}
	}
	var second netip.Prefix
	for _, c := range candidates {
		p, err := netip.ParsePrefix(c)
		if err != nil || !p.Addr().Is4() {
			return netip.Prefix{}, fail(exitUsage, "--prefix 10.99.0.0/24", "%q is not an IPv4 prefix", c)
		}
		n, overlaps := plan.Overlap(p, found.Facts)
		switch {
		case !overlaps && !plan.Routed(p, found.Facts):
			return p, nil
		case !overlaps && !second.IsValid():
			second = p
		case overlaps && o.prefix4 != "":
			return netip.Prefix{}, fail(exitFailed, "choose another --prefix", "the tunnel prefix %s overlaps %s of this machine's %s", p, n.Prefix, n.Interface)
		}
	}
	if second.IsValid() {
		return second, nil
	}
	return netip.Prefix{}, fail(exitFailed, "gatelodge gate init --prefix PREFIX", "all of %s overlap networks of this machine", strings.Join(candidates, ", "))
}

// randomULA makes a unique local IPv6 prefix (RFC 4193, section 3.2).
func randomULA() netip.Prefix {
	b := [16]byte{0xfd}
	if _, err := rand.Read(b[1:8]); err != nil {
		panic("no randomness: " + err.Error()) // crypto/rand never fails on Linux
	}
	return netip.PrefixFrom(netip.AddrFrom16(b), 64)
}

func (a *app) showFound(found host.Found, file config.GateDefaults, verdict survey.Verdict) {
	a.printf("This machine:\n")
	a.printf("  public       %s\n", found.PublicText())
	a.printf("  ssh          %s\n", found.Survey.SSHText())
	a.printf("  WireGuard    %s\n", found.Survey.DeviceText())
	a.printf("  nftables     %s\n", found.Survey.NFT)
	a.printf("As a gate:\n")
	a.printf("  homes dial   %s (UDP)\n", strings.Join(file.Endpoints, ", "))
	a.printf("  tunnel       %s", file.Prefix4)
	if file.Prefix6.IsValid() {
		a.printf(", %s", file.Prefix6)
	}
	a.printf("\n  firewall     %s\n", survey.InputText(file.Input == "leave"))
	a.printf("  kernel       %s\n", found.Survey.KernelText())
	for _, n := range verdict.Notes {
		a.printf("  note         %s\n", n)
	}
}

func listAddrs(addrs []netip.Addr) string {
	if len(addrs) == 0 {
		return "none with a way to the internet"
	}
	text := make([]string, len(addrs))
	for i, a := range addrs {
		text[i] = a.String()
	}
	return "only " + strings.Join(text, ", ")
}

// writeConfig makes a configuration file where there is none. Whatever root's
// umask is, the daemon can read it, which may have a user of its own; there are
// no secrets in it.
func (a *app) writeConfig(role plan.Role, data []byte) error {
	if err := a.makeConfigFolder(); err != nil {
		return err
	}
	f, err := os.OpenFile(a.paths().ConfigFile(role), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fail(exitFailed, "gatelodge status", "%s exists already and stays as it is", a.paths().ConfigFile(role))
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
}

func (a *app) makeConfigFolder() error {
	folder := a.paths().Config()
	if _, err := os.Stat(folder); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return os.Chmod(folder, 0o755)
}
