package onboard

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/problem"
)

// GateWish is what the owner of a machine wants of it as a gate.
type GateWish struct {
	Endpoints  []string // at which homes reach it; none: its public addresses
	Prefix4    string   // of the tunnel; "": one that is free there
	ListenPort uint16   // of WireGuard, UDP
	Input      string   // "protect" or "leave"
}

// GateFile decides what gate.toml will say, and that it would be valid.
func GateFile(found host.Found, o GateWish) (config.GateDefaults, error) {
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
		ListenPort: o.ListenPort,
		SSHPorts:   found.Facts.SSHPorts,
		Input:      o.Input,
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

func (o GateWish) reachableAt(found host.Found) ([]string, error) {
	if len(o.Endpoints) > 0 {
		return o.Endpoints, nil
	}
	var endpoints []string
	for _, addr := range found.Facts.Public {
		if plan.Routable(addr) && len(endpoints) < 4 {
			endpoints = append(endpoints, net.JoinHostPort(addr.String(), strconv.Itoa(int(o.ListenPort))))
		}
	}
	if len(endpoints) == 0 {
		return nil, problem.New(problem.Failed, "gatelodge gate init --endpoint ADDRESS-OR-NAME",
			"no public address found on this machine (%s): name the address or host name at which homes reach it", listAddrs(found.Facts.Public))
	}
	return endpoints, nil
}

// tunnelPrefix prefers a prefix to which no route of this machine leads, and
// takes one inside a wider route, such as a VPN's, if there is no other.
func (o GateWish) tunnelPrefix(found host.Found) (netip.Prefix, error) {
	candidates := []string{"10.99.0.0/24", "10.119.0.0/24", "172.29.99.0/24", "192.168.209.0/24"}
	if o.Prefix4 != "" {
		candidates = []string{o.Prefix4}
	}
	var second netip.Prefix
	for _, c := range candidates {
		p, err := netip.ParsePrefix(c)
		if err != nil || !p.Addr().Is4() {
			return netip.Prefix{}, problem.New(problem.Usage, "--prefix 10.99.0.0/24", "%q is not an IPv4 prefix", c)
		}
		n, overlaps := plan.Overlap(p, found.Facts)
		switch {
		case !overlaps && !plan.Routed(p, found.Facts):
			return p, nil
		case !overlaps && !second.IsValid():
			second = p
		case overlaps && o.Prefix4 != "":
			return netip.Prefix{}, problem.New(problem.Failed, "choose another --prefix", "the tunnel prefix %s overlaps %s of this machine's %s", p, n.Prefix, n.Interface)
		}
	}
	if second.IsValid() {
		return second, nil
	}
	return netip.Prefix{}, problem.New(problem.Failed, "gatelodge gate init --prefix PREFIX", "all of %s overlap networks of this machine", strings.Join(candidates, ", "))
}

// randomULA makes a unique local IPv6 prefix (RFC 4193, section 3.2).
func randomULA() netip.Prefix {
	b := [16]byte{0xfd}
	if _, err := rand.Read(b[1:8]); err != nil {
		panic("no randomness: " + err.Error()) // crypto/rand never fails on Linux
	}
	return netip.PrefixFrom(netip.AddrFrom16(b), 64)
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
