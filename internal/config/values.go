package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/key"
)

// checkName reports why name cannot name a forward or a home.
func checkName(name string) error {
	err := forward.CheckName(name)
	if err == nil {
		return nil
	}
	var hint string
	if better := nameLike(name); forward.CheckName(better) == nil {
		hint = fmt.Sprintf("such as %q", better)
	}
	return problem{err.Error(), hint}
}

// nameLike makes a likely name of what cannot be one.
func nameLike(s string) string {
	mapped := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		default:
			return '-'
		}
	}, strings.ToLower(s))
	return strings.Trim(mapped, "-")
}

// oneOf returns a function that understands the given words only.
func oneOf(words ...string) func(string) (string, error) {
	return func(s string) (string, error) {
		for _, w := range words {
			if s == w {
				return s, nil
			}
		}
		return "", problem{
			fmt.Sprintf("%q is not one of %s", bounded(s), strings.Join(words, ", ")),
			suggest(s, words),
		}
	}
}

// oneOfTwo understands two words, of which the first means true.
func oneOfTwo(yes, no string) func(string) (bool, error) {
	parse := oneOf(yes, no)
	return func(s string) (bool, error) {
		word, err := parse(s)
		return word == yes, err
	}
}

func parseDevice(s string) (Device, error) {
	word, err := oneOf(string(Auto), string(Kernel), string(Embedded))(s)
	return Device(word), err
}

// parseAddr reads an address of one machine. IPv4 written as IPv6 is IPv4.
func parseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		hint := "write it in numbers, such as 192.168.1.20 or fd00::20"
		if strings.Contains(s, "/") {
			hint = "leave out the prefix length"
		}
		return netip.Addr{}, problem{fmt.Sprintf("%q is not an IP address", bounded(s)), hint}
	}
	if a.Zone() != "" {
		return netip.Addr{}, problem{fmt.Sprintf("%q has a zone, which means nothing to another machine", bounded(s)), "use an address without %"}
	}
	a = a.Unmap()
	if kind := special(a); kind != "" {
		return netip.Addr{}, fmt.Errorf("%s is %s, not that of one machine", a, kind)
	}
	return a, nil
}

// special names the kind of an address that no single machine is reached at.
func special(a netip.Addr) string {
	switch {
	case a.IsUnspecified():
		return "the unspecified address"
	case a.IsLoopback():
		return "a loopback address"
	case a.IsMulticast():
		return "a multicast address"
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "the broadcast address"
	default:
		return ""
	}
}

// parseTarget reads the `to` of a forward.
func parseTarget(s string) (netip.Addr, error) {
	a, err := parseAddr(s)
	if err == nil {
		return a, nil
	}
	p, ok := err.(problem)
	if !ok {
		p.message = err.Error()
	}
	if b, err := netip.ParseAddr(s); err == nil && (b.IsLoopback() || b.IsUnspecified()) {
		p.hint = "for a service of this machine leave out to"
	}
	return netip.Addr{}, p
}

// parsePrefix reads a prefix and insists that it names a network.
func parsePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, problem{fmt.Sprintf("%q is not a prefix", bounded(s)), "write ADDRESS/LENGTH, such as 198.51.100.0/24 or 2001:db8::/64"}
	}
	if p.Addr().Is4In6() {
		return netip.Prefix{}, problem{fmt.Sprintf("%q is IPv4 written as IPv6", bounded(s)), "write it as IPv4"}
	}
	if masked := p.Masked(); masked != p {
		return netip.Prefix{}, problem{
			fmt.Sprintf("%s has bits set behind its first %d", p, p.Bits()),
			fmt.Sprintf("write %s for the network, or %s for the one address", masked, p.Addr()),
		}
	}
	return p, nil
}

// parseAllow reads a prefix or an address, which is a prefix of one.
func parseAllow(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		return parsePrefix(s)
	}
	a, err := parseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// The sizes of the tunnel's IPv4 prefix: at most a private network of the
// largest kind, at least a few homes.
const (
	minBits4 = 8
	maxBits4 = 29
)

func parsePrefix4(s string) (netip.Prefix, error) {
	p, err := parsePrefix(s)
	switch {
	case err != nil:
		return netip.Prefix{}, err
	case !p.Addr().Is4():
		return netip.Prefix{}, problem{fmt.Sprintf("%s is IPv6", p), "it belongs in prefix6"}
	case p.Bits() < minBits4 || p.Bits() > maxBits4:
		return netip.Prefix{}, fmt.Errorf("%s has a length of %d; the tunnel's IPv4 prefix is a /%d to a /%d", p, p.Bits(), minBits4, maxBits4)
	}
	return p, checkTunnelPrefix(p)
}

// parsePrefix6 reads the tunnel's IPv6 prefix; an empty text is none.
func parsePrefix6(s string) (netip.Prefix, error) {
	if s == "" {
		return netip.Prefix{}, nil
	}
	p, err := parsePrefix(s)
	switch {
	case err != nil:
		return netip.Prefix{}, err
	case !p.Addr().Is6():
		return netip.Prefix{}, problem{fmt.Sprintf("%s is IPv4", p), "it belongs in prefix4"}
	case p.Bits() != 64:
		return netip.Prefix{}, fmt.Errorf("%s has a length of %d; the tunnel's IPv6 prefix is a /64", p, p.Bits())
	}
	return p, checkTunnelPrefix(p)
}

func checkTunnelPrefix(p netip.Prefix) error {
	a := p.Addr()
	if special(a) != "" || a.IsLinkLocalUnicast() || a.Is4() && a.As4()[0] >= 224 {
		return problem{fmt.Sprintf("%s is not for machines to have addresses in", p), "take a private one, such as 10.99.0.0/24 or fd99::/64"}
	}
	return nil
}

// parsePorts reads ports of the gate: no remapping.
func parsePorts(s string) (forward.PortSet, error) {
	ports, err := forward.ParsePorts(s)
	if err != nil {
		return nil, portsProblem(s, err)
	}
	return forward.NewPortSet(ports...), nil
}

func parseMapping(s string) ([]forward.Mapping, error) {
	mappings, err := forward.ParseMapping(s)
	if err != nil {
		return nil, portsProblem(s, err)
	}
	return mappings, nil
}

// portsProblem adds to an error what people are used to from elsewhere.
func portsProblem(s string, err error) error {
	hint := ""
	switch {
	case strings.HasSuffix(s, "/any"), strings.HasSuffix(s, "/both"), strings.HasSuffix(s, "/tcp+udp"):
		hint = "a port without a protocol is both"
	case strings.Contains(s, ","):
		hint = `write each in quotes of its own: ["80/tcp", "443/tcp"]`
	case strings.HasPrefix(s, "tcp/"), strings.HasPrefix(s, "udp/"):
		hint = "the protocol comes last, as in 443/" + s[:3]
	}
	return problem{err.Error(), hint}
}

// completeEndpoint gives a host without a port the default one.
func completeEndpoint(s string, port uint16) (string, error) {
	endpoint := s
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		endpoint = netip.AddrPortFrom(a, port).String()
	} else if !strings.Contains(s, ":") {
		endpoint = s + ":" + strconv.Itoa(int(port))
	}
	if err := key.CheckEndpoint(endpoint); err != nil {
		return "", problem{err.Error(), "write HOST or HOST:PORT, such as vps.example.org or 198.51.100.1:55107"}
	}
	return endpoint, nil
}

// parseMark reads a mark in hexadecimal.
func parseMark(s string) (uint32, error) {
	digits, found := strings.CutPrefix(s, "0x")
	n, err := strconv.ParseUint(digits, 16, 32)
	if !found || err != nil {
		return 0, problem{fmt.Sprintf("%q is not a mark", bounded(s)), `write it in hexadecimal with at most 8 digits, such as "0x10000000"`}
	}
	return uint32(n), nil
}
