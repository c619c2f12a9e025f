package host

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/gatelodge/gatelodge/internal/host/firewall"
	"github.com/gatelodge/gatelodge/internal/host/routing"
	"github.com/gatelodge/gatelodge/internal/host/sockets"
	"github.com/gatelodge/gatelodge/internal/host/wireguard"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// Found is what this machine is, before anything is set up on it.
type Found struct {
	Facts  plan.Facts
	NFT    string // version of nft
	Device plan.Kind
	Why    string // why that kind of device
	// Closing are the services of this machine that a protecting gate closes.
	Closing []Service
}

// Service is something listening on this machine.
type Service struct {
	Port string // such as "80/tcp"
	Text string // such as "nginx on 80/tcp"
}

// Look finds out what this machine is and whether it has what we need. It
// changes nothing. sshConnection is the value of SSH_CONNECTION (ssh(1)) of
// the command that asks: its port is one that must stay open.
func Look(ctx context.Context, sshConnection string) (Found, error) {
	fw, err := firewall.Open()
	if err != nil {
		return Found{}, err
	}
	kind, why, err := wireguard.Probe(ctx)
	if err != nil {
		return Found{}, err
	}
	rt, err := routing.Open()
	if err != nil {
		return Found{}, err
	}
	facts, err := Facts(ctx, rt, "", sshConnection)
	if err != nil {
		return Found{}, err
	}
	listeners, err := sockets.Listeners()
	if err != nil {
		return Found{}, err
	}
	return Found{Facts: facts, NFT: fw.Version(), Device: kind, Why: why, Closing: closing(listeners, facts)}, nil
}

// closing lists what others can reach now and will not any more.
func closing(listeners []sockets.Listener, facts plan.Facts) []Service {
	var services []Service
	for _, l := range listeners {
		isSSH := l.Protocol.String() == "tcp" && slices.Contains(facts.SSHPorts, l.Port)
		if isSSH || l.Addr.IsLoopback() || isDHCP(l) {
			continue
		}
		s := Service{Port: fmt.Sprintf("%d/%s", l.Port, l.Protocol)}
		name := l.Owner()
		if name == "" {
			name = "unknown process"
		}
		s.Text = name + " on " + s.Port
		if !slices.Contains(services, s) {
			services = append(services, s)
		}
	}
	return services
}

// isDHCP tells the sockets of DHCP clients, whose answers are always let in.
func isDHCP(l sockets.Listener) bool { return l.Port == 68 || l.Port == 546 }

// Routable reports whether the internet routes an address at all.
func Routable(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !plan.Private(netip.PrefixFrom(a, a.BitLen()))
}

// PublicText shows where visitors arrive.
func (f Found) PublicText() string {
	if len(f.Facts.Public) == 0 {
		return "no address with a way to the internet"
	}
	text := make([]string, len(f.Facts.Public))
	for i, a := range f.Facts.Public {
		text[i] = a.String()
	}
	return strings.Join(text, ", ") + onInterfaces(f.Facts.Networks)
}

func onInterfaces(networks []plan.Network) string {
	var names []string
	for _, n := range networks {
		if n.Default && !slices.Contains(names, n.Interface) {
			names = append(names, n.Interface)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " on " + strings.Join(names, ", ")
}

// DeviceText shows which WireGuard will be used, and why.
func (f Found) DeviceText() string {
	if f.Why == "" {
		return string(f.Device)
	}
	return fmt.Sprintf("%s (%s)", f.Device, f.Why)
}
