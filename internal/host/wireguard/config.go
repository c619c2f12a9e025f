package wireguard

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// configuration is a change of a device's configuration, in the terms that
// both kinds of device share.
type configuration struct {
	PrivateKey   *key.Private // nil: stays
	ListenPort   *uint16
	FirewallMark *uint32
	Peers        []peerChange
}

// peerChange adds, changes or removes one peer.
type peerChange struct {
	plan.Peer
	Remove      bool
	SetEndpoint bool
}

// configure returns what must change for the observed device to become the
// wanted one. What already is as wanted is not touched, so that sessions live
// on. before is what was wanted at the last time.
func configure(observed plan.ObservedWireGuard, before, want plan.WireGuard) configuration {
	var c configuration
	if observed.PublicKey != want.PrivateKey.Public() {
		c.PrivateKey = &want.PrivateKey
	}
	if want.ListenPort != 0 && observed.ListenPort != want.ListenPort {
		c.ListenPort = &want.ListenPort
	}
	if observed.FirewallMark != want.FirewallMark {
		c.FirewallMark = &want.FirewallMark
	}
	for _, o := range observed.Peers {
		if !slices.ContainsFunc(want.Peers, func(p plan.Peer) bool { return p.PublicKey == o.PublicKey }) {
			c.Peers = append(c.Peers, peerChange{Peer: plan.Peer{PublicKey: o.PublicKey}, Remove: true})
		}
	}
	for _, p := range want.Peers {
		if change, needed := changePeer(observed.Peers, before.Peers, p); needed {
			c.Peers = append(c.Peers, change)
		}
	}
	return c
}

func changePeer(observed []plan.ObservedPeer, before []plan.Peer, want plan.Peer) (peerChange, bool) {
	i := slices.IndexFunc(observed, func(o plan.ObservedPeer) bool { return o.PublicKey == want.PublicKey })
	if i < 0 {
		return peerChange{Peer: want, SetEndpoint: want.Endpoint.IsValid()}, true
	}
	o := observed[i]
	b := slices.IndexFunc(before, func(p plan.Peer) bool { return p.PublicKey == want.PublicKey })
	moved := b < 0 || before[b].Endpoint != want.Endpoint
	change := peerChange{Peer: want, SetEndpoint: want.Endpoint.IsValid() && o.Endpoint != want.Endpoint && (moved || !o.Endpoint.IsValid())}
	same := o.PersistentKeepalive == want.PersistentKeepalive && samePrefixes(o.AllowedIPs, want.AllowedIPs)
	return change, !same || change.SetEndpoint
}

func samePrefixes(a, b []netip.Prefix) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(p netip.Prefix) bool { return !slices.Contains(b, p) })
}

// uapi writes a change in WireGuard's configuration protocol
// (https://www.wireguard.com/xplatform/).
func uapi(c configuration) string {
	var b strings.Builder
	if c.PrivateKey != nil {
		secret := c.PrivateKey.Reveal()
		fmt.Fprintf(&b, "private_key=%x\n", secret[:])
	}
	if c.ListenPort != nil {
		fmt.Fprintf(&b, "listen_port=%d\n", *c.ListenPort)
	}
	if c.FirewallMark != nil {
		fmt.Fprintf(&b, "fwmark=%d\n", *c.FirewallMark)
	}
	for _, p := range c.Peers {
		fmt.Fprintf(&b, "public_key=%s\n", p.PublicKey.Hex())
		if p.Remove {
			b.WriteString("remove=true\n")
			continue
		}
		if p.SetEndpoint {
			fmt.Fprintf(&b, "endpoint=%s\n", p.Endpoint)
		}
		fmt.Fprintf(&b, "persistent_keepalive_interval=%d\n", p.PersistentKeepalive/time.Second)
		b.WriteString("replace_allowed_ips=true\n")
		for _, a := range p.AllowedIPs {
			fmt.Fprintf(&b, "allowed_ip=%s\n", a)
		}
	}
	return b.String()
}

// parseUAPI reads what a device says of itself.
func parseUAPI(text string) (plan.ObservedWireGuard, error) {
	var o plan.ObservedWireGuard
	var at handshake
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if err := readLine(&o, &at, name, value); err != nil {
			return o, fmt.Errorf("the embedded WireGuard says %s=…, which cannot be read: %w", name, err)
		}
	}
	return o, nil
}

// handshake collects the two lines that make a time.
type handshake struct{ sec int64 }

func readLine(o *plan.ObservedWireGuard, at *handshake, name, value string) error {
	var p *plan.ObservedPeer
	if n := len(o.Peers); n > 0 {
		p = &o.Peers[n-1]
	}
	var err error
	switch name {
	case "private_key":
		o.PublicKey, err = publicOf(value)
	case "listen_port":
		o.ListenPort, err = number[uint16](value, 16)
	case "fwmark":
		o.FirewallMark, err = number[uint32](value, 32)
	case "public_key":
		var k key.Public
		k, err = parseHexKey(value)
		o.Peers = append(o.Peers, plan.ObservedPeer{PublicKey: k})
	case "endpoint":
		p.Endpoint, err = netip.ParseAddrPort(value)
	case "allowed_ip":
		var a netip.Prefix
		a, err = netip.ParsePrefix(value)
		p.AllowedIPs = append(p.AllowedIPs, a)
	case "persistent_keepalive_interval":
		var s uint16
		s, err = number[uint16](value, 16)
		p.PersistentKeepalive = time.Duration(s) * time.Second
	case "last_handshake_time_sec":
		at.sec, err = strconv.ParseInt(value, 10, 64)
	case "last_handshake_time_nsec":
		var nsec int64
		nsec, err = strconv.ParseInt(value, 10, 64)
		if at.sec != 0 || nsec != 0 {
			p.LatestHandshake = time.Unix(at.sec, nsec)
		}
	case "rx_bytes":
		p.ReceivedBytes, err = number[uint64](value, 64)
	case "tx_bytes":
		p.SentBytes, err = number[uint64](value, 64)
	}
	return err
}

func number[T uint16 | uint32 | uint64](text string, bits int) (T, error) {
	n, err := strconv.ParseUint(text, 10, bits)
	return T(n), err
}

func parseHexKey(text string) (key.Public, error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != key.Size {
		return key.Public{}, errors.New("not a key")
	}
	return key.Public(b), nil
}

func publicOf(text string) (key.Public, error) {
	b, err := hex.DecodeString(text)
	if err != nil {
		return key.Public{}, errors.New("not a key")
	}
	private, err := key.ParsePrivate(base64.StdEncoding.EncodeToString(b))
	if err != nil {
		return key.Public{}, err
	}
	return private.Public(), nil
}
