package wireguard

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// uapi writes a change in WireGuard's configuration protocol
// (https://www.wireguard.com/xplatform/).
func uapi(c configuration) string {
	var b strings.Builder
	if c.PrivateKey != nil {
		secret := c.PrivateKey.Reveal()
		fmt.Fprintf(&b, "private_key=%x\n", secret[:])
	}
	// The mark comes first, so that no packet leaves the new port without.
	if c.FirewallMark != nil {
		fmt.Fprintf(&b, "fwmark=%d\n", *c.FirewallMark)
	}
	if c.ListenPort != nil {
		fmt.Fprintf(&b, "listen_port=%d\n", *c.ListenPort)
	}
	for _, p := range c.Peers {
		writePeer(&b, p)
	}
	return b.String()
}

func writePeer(b *strings.Builder, p peerChange) {
	fmt.Fprintf(b, "public_key=%s\n", p.PublicKey.Hex())
	if p.Remove {
		b.WriteString("remove=true\n")
		return
	}
	if p.Endpoint.IsValid() {
		fmt.Fprintf(b, "endpoint=%s\n", p.Endpoint)
	}
	if p.Keepalive != nil {
		fmt.Fprintf(b, "persistent_keepalive_interval=%d\n", *p.Keepalive/time.Second)
	}
	if p.Replace {
		b.WriteString("replace_allowed_ips=true\n")
	}
	for _, a := range p.AllowedIPs {
		fmt.Fprintf(b, "allowed_ip=%s\n", a)
	}
}

// parseUAPI reads what a device says of itself. Lines that it does not know
// are skipped: newer devices have more to say.
func parseUAPI(text string) (plan.ObservedWireGuard, error) {
	var o plan.ObservedWireGuard
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if err := readLine(&o, name, value); err != nil {
			// The value may be a secret: it is not shown.
			return o, fmt.Errorf("the embedded WireGuard says %s=…, which cannot be read: %w", name, err)
		}
	}
	return o, nil
}

func readLine(o *plan.ObservedWireGuard, name, value string) (err error) {
	switch {
	case name == "public_key":
		var k key.Public
		k, err = parseHexKey(value)
		o.Peers = append(o.Peers, plan.ObservedPeer{PublicKey: k})
	case len(o.Peers) > 0:
		err = readPeerLine(&o.Peers[len(o.Peers)-1], name, value)
	case name == "private_key":
		o.PublicKey, err = publicOf(value)
	case name == "listen_port":
		o.ListenPort, err = number[uint16](value, 16)
	case name == "fwmark":
		o.FirewallMark, err = number[uint32](value, 32)
	}
	if errors.Is(err, strconv.ErrSyntax) {
		err = errors.New("not a number") // without the value
	}
	return err
}

func readPeerLine(p *plan.ObservedPeer, name, value string) (err error) {
	var n uint64
	switch name {
	case "endpoint":
		p.Endpoint, err = netip.ParseAddrPort(value)
		p.Endpoint = netip.AddrPortFrom(p.Endpoint.Addr().Unmap(), p.Endpoint.Port())
	case "allowed_ip":
		var a netip.Prefix
		a, err = netip.ParsePrefix(value)
		p.AllowedIPs = append(p.AllowedIPs, a)
	case "persistent_keepalive_interval":
		n, err = number[uint64](value, 16)
		p.PersistentKeepalive = time.Duration(n) * time.Second
	case "last_handshake_time_sec":
		if n, err = number[uint64](value, 63); n != 0 {
			p.LatestHandshake = time.Unix(int64(n), 0)
		}
	case "last_handshake_time_nsec": // always after the seconds
		if n, err = number[uint64](value, 30); n != 0 {
			p.LatestHandshake = p.LatestHandshake.Add(time.Duration(n))
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

// publicOf returns the public half of a private key in hexadecimal.
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
