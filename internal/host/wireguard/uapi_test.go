package wireguard

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gatelodge/gatelodge/internal/plan"
)

// said is what a device says, as in the protocol's documentation, without the
// private key.
const said = `listen_port=12912
fwmark=536870912
public_key=b85996fecc9c7f1fc6d2572a76eda11d59bcd20be8e543b15ce4bd85a8e75a33
preshared_key=0000000000000000000000000000000000000000000000000000000000000000
protocol_version=1
endpoint=[::ffff:192.0.2.1]:51820
last_handshake_time_sec=1700000000
last_handshake_time_nsec=5
tx_bytes=38333
rx_bytes=2224
persistent_keepalive_interval=111
allowed_ip=192.168.4.4/32
allowed_ip=fd99::/64
public_key=58402e695ba1772b1cc9309755f043251ea77fdcf10fbe63989ceb7e19321376
last_handshake_time_sec=0
last_handshake_time_nsec=0
tx_bytes=0
rx_bytes=0
`

func TestParseUAPI(t *testing.T) {
	got, err := parseUAPI(uapi(configuration{PrivateKey: &private}) + said)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := parseHexKey("b85996fecc9c7f1fc6d2572a76eda11d59bcd20be8e543b15ce4bd85a8e75a33")
	second, _ := parseHexKey("58402e695ba1772b1cc9309755f043251ea77fdcf10fbe63989ceb7e19321376")
	want := plan.ObservedWireGuard{
		PublicKey: private.Public(), ListenPort: 12912, FirewallMark: 0x20000000,
		Peers: []plan.ObservedPeer{{
			PublicKey:           first,
			Endpoint:            here,
			AllowedIPs:          []netip.Prefix{netip.MustParsePrefix("192.168.4.4/32"), netip.MustParsePrefix("fd99::/64")},
			PersistentKeepalive: 111 * time.Second,
			LatestHandshake:     time.Unix(1700000000, 5),
			ReceivedBytes:       2224,
			SentBytes:           38333,
		}, {PublicKey: second}},
	}
	if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{}, netip.Prefix{})); d != "" {
		t.Errorf("read (-want +got):\n%s", d)
	}
}

func TestParseUAPIErrors(t *testing.T) {
	for _, line := range []string{"listen_port=70000", "fwmark=x", "public_key=12", "private_key=zz", said + "endpoint=nowhere", said + "allowed_ip=10.0.0.0/33"} {
		if _, err := parseUAPI(line); err == nil {
			t.Errorf("%q was accepted", line)
		}
	}
	if _, err := parseUAPI("private_key=" + strings.Repeat("ab", 31)); err == nil || strings.Contains(err.Error(), "abab") {
		t.Errorf("a damaged private key gives %v", err)
	}
}

func FuzzParseUAPI(f *testing.F) {
	f.Add(said)
	f.Add("endpoint=1.2.3.4:5\nallowed_ip=::/0\n")
	f.Fuzz(func(t *testing.T, text string) {
		o, err := parseUAPI(text)
		if err != nil {
			return
		}
		if n := strings.Count(text, "public_key="); len(o.Peers) > n {
			t.Errorf("%d peers of %d lines", len(o.Peers), n)
		}
	})
}
