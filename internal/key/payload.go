package key

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

func (v Invite) marshal() ([]byte, error) {
	if err := v.checkTunnel(); err != nil {
		return nil, err
	}
	if len(v.Endpoints) == 0 || len(v.Endpoints) > maxEndpoints {
		return nil, fmt.Errorf("an invite needs 1 to %d endpoints, not %d", maxEndpoints, len(v.Endpoints))
	}
	secret, gate, home := v.Secret.Reveal(), v.GateAddress.As4(), v.Address.As4()
	b := []byte{inviteVersion}
	b = append(b, secret[:]...)
	b = append(b, v.Gate[:]...)
	b = append(b, gate[:]...)
	b = append(b, home[:]...)
	b = append(b, byte(v.PrefixBits))
	b = binary.BigEndian.AppendUint16(b, v.ControlPort)
	for _, e := range v.Endpoints {
		packed, err := packEndpoint(e)
		if err != nil {
			return nil, err
		}
		b = append(b, packed...)
	}
	return b, nil
}

// The kinds of endpoint in an invite: an address with its port, or a name.
const (
	endpointIPv4 = 4
	endpointIPv6 = 6
	endpointName = 'n'
)

func packEndpoint(e string) ([]byte, error) {
	if err := CheckEndpoint(e); err != nil {
		return nil, err
	}
	if a, err := netip.ParseAddrPort(e); err == nil {
		kind := byte(endpointIPv6)
		if a.Addr().Is4() {
			kind = endpointIPv4
		}
		b := append([]byte{kind}, a.Addr().AsSlice()...)
		return binary.BigEndian.AppendUint16(b, a.Port()), nil
	}
	return append([]byte{endpointName, byte(len(e))}, e...), nil
}

var errInvite = errors.New("the invite was made by another version of gatelodge, or for something else: make a new one on the gate")

func unmarshalInvite(b []byte) (Invite, error) {
	const fixed = 1 + secretSize + Size + 4 + 4 + 1 + 2
	if len(b) < fixed || b[0] != inviteVersion {
		return Invite{}, errInvite
	}
	take := func(n int) []byte {
		head := b[:n]
		b = b[n:]
		return head
	}
	take(1)
	v := Invite{
		Secret:      makeSecret([secretSize]byte(take(secretSize))),
		Gate:        Public(take(Size)),
		GateAddress: netip.AddrFrom4([4]byte(take(4))),
		Address:     netip.AddrFrom4([4]byte(take(4))),
		PrefixBits:  int(take(1)[0]),
		ControlPort: binary.BigEndian.Uint16(take(2)),
	}
	endpoints, err := unpackEndpoints(b)
	if err != nil || v.checkTunnel() != nil {
		return Invite{}, errInvite
	}
	v.Endpoints = endpoints
	return v, nil
}

// unpackEndpoints reads what packEndpoint wrote, and nothing that it would not
// have written.
func unpackEndpoints(b []byte) ([]string, error) {
	var endpoints []string
	for len(b) > 0 && len(endpoints) < maxEndpoints {
		size := endpointSize(b)
		if size == 0 || len(b) < 1+size {
			return nil, errInvite
		}
		endpoint, err := unpackEndpoint(b[0], b[1:1+size])
		if err != nil {
			return nil, err
		}
		endpoints = append(endpoints, endpoint)
		b = b[1+size:]
	}
	if len(endpoints) == 0 || len(b) > 0 {
		return nil, errInvite
	}
	return endpoints, nil
}

// endpointSize returns the number of bytes behind the kind of the endpoint
// that b starts with, or 0 if that is none.
func endpointSize(b []byte) int {
	switch {
	case b[0] == endpointIPv4:
		return 4 + 2
	case b[0] == endpointIPv6:
		return 16 + 2
	case b[0] == endpointName && len(b) > 1:
		return 1 + int(b[1])
	default:
		return 0
	}
}

func unpackEndpoint(kind byte, body []byte) (string, error) {
	var endpoint string
	if kind == endpointName {
		endpoint = string(body[1:])
		if _, err := netip.ParseAddrPort(endpoint); err == nil {
			return "", errInvite
		}
	} else {
		addr, _ := netip.AddrFromSlice(body[:len(body)-2])
		port := binary.BigEndian.Uint16(body[len(body)-2:])
		endpoint = netip.AddrPortFrom(addr, port).String()
	}
	// The text goes to the terminal, to files and to the device.
	if CheckEndpoint(endpoint) != nil {
		return "", errInvite
	}
	return endpoint, nil
}

// The lengths that the tunnel's IPv4 prefix may have: more than one class A
// network belongs to nobody, less than four addresses have no room for two.
const (
	minPrefixBits = 8
	maxPrefixBits = 30
)

// checkTunnel reports what is wrong with the invite's view of the tunnel. A
// home makes addresses and routes of it.
func (v Invite) checkTunnel() error {
	switch {
	case !v.GateAddress.Is4() || !v.Address.Is4():
		return errors.New("an invite needs the tunnel's IPv4 addresses")
	case v.PrefixBits < minPrefixBits || v.PrefixBits > maxPrefixBits:
		return fmt.Errorf("an invite's tunnel prefix is a /%d to a /%d, not a /%d", minPrefixBits, maxPrefixBits, v.PrefixBits)
	case v.Address == v.GateAddress || !netip.PrefixFrom(v.GateAddress, v.PrefixBits).Contains(v.Address):
		return fmt.Errorf("an invite's address %s is not another one of the gate's network %s/%d", v.Address, v.GateAddress, v.PrefixBits)
	case !usable(v.GateAddress) || !usable(v.Address):
		return fmt.Errorf("an invite's addresses %s and %s are not for machines to have", v.GateAddress, v.Address)
	case !IsTunnelPrefix(v.Tunnel()):
		return fmt.Errorf("an invite's tunnel %s is not of the private ranges, and could hide somebody's address on the internet: set prefix4 under [tunnel] in gate.toml to one such as 10.99.0.0/24", v.Tunnel())
	case v.ControlPort == 0:
		return errors.New("an invite needs the gate's control port")
	}
	return nil
}

// Tunnel returns the tunnel's IPv4 prefix.
func (v Invite) Tunnel() netip.Prefix { return netip.PrefixFrom(v.GateAddress, v.PrefixBits).Masked() }

// privateRanges are from where a tunnel may take its addresses: nobody on the
// internet has them (RFC 1918, RFC 6598, RFC 4193).
var privateRanges = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("fc00::/7"),
}

// IsTunnelPrefix reports whether a tunnel may have the prefix: a home gives up
// whatever else has its addresses.
func IsTunnelPrefix(p netip.Prefix) bool {
	return p.IsValid() && p == p.Masked() && slices.ContainsFunc(privateRanges, func(r netip.Prefix) bool {
		return r.Bits() <= p.Bits() && r.Contains(p.Addr())
	})
}

// usable reports whether a machine may have the IPv4 address.
func usable(a netip.Addr) bool {
	return !a.IsUnspecified() && !a.IsLoopback() && !a.IsLinkLocalUnicast() && a.As4()[0] < 224
}
