package wireguard

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
)

var (
	private  = mustKey("yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=")
	other    = mustKey("AQIDBAUGBwgBAgMEBQYHCAECAwQFBgcIAQIDBAUGB0g=")
	here     = netip.MustParseAddrPort("192.0.2.1:51820")
	there    = netip.MustParseAddrPort("[2001:db8::1]:51820")
	prefixes = []netip.Prefix{netip.MustParsePrefix("10.99.0.2/32"), netip.MustParsePrefix("fd99::2/128"), netip.MustParsePrefix("10.99.0.3/32")}
)

func mustKey(text string) key.Private {
	k, err := key.ParsePrivate(text)
	if err != nil {
		panic(err)
	}
	return k
}

// wanted is a device as a home wants it, and settled what it says of itself
// once it has got that.
func wanted() plan.WireGuard {
	return plan.WireGuard{PrivateKey: private, FirewallMark: 0x20000000, Peers: []plan.Peer{{
		PublicKey: other.Public(), Endpoint: here, AllowedIPs: prefixes[:2], PersistentKeepalive: 15 * time.Second,
	}}}
}

func settled() plan.ObservedWireGuard {
	return plan.ObservedWireGuard{
		Present: true, PublicKey: private.Public(), ListenPort: 40000, FirewallMark: 0x20000000,
		Peers: []plan.ObservedPeer{{
			PublicKey: other.Public(), Endpoint: here, AllowedIPs: prefixes[:2], PersistentKeepalive: 15 * time.Second,
		}},
	}
}

func TestConfigure(t *testing.T) {
	peer := "public_key=" + other.Public().Hex() + "\n"
	for _, test := range []struct {
		name   string
		change func(o *plan.ObservedWireGuard, before, want *plan.WireGuard)
		expect string
	}{
		{"nothing", func(*plan.ObservedWireGuard, *plan.WireGuard, *plan.WireGuard) {}, ""},
		{"mark", func(_ *plan.ObservedWireGuard, _, w *plan.WireGuard) { w.FirewallMark = 0 }, "fwmark=0\n"},
		{"fixed port", func(_ *plan.ObservedWireGuard, _, w *plan.WireGuard) { w.ListenPort = 51820 }, "listen_port=51820\n"},
		{"free port", func(_ *plan.ObservedWireGuard, b, _ *plan.WireGuard) { b.ListenPort = 40000 }, "listen_port=0\n"},
		{"lost port", func(o *plan.ObservedWireGuard, _, _ *plan.WireGuard) { o.ListenPort = 0 }, "listen_port=0\n"},
		{"removed peer", func(_ *plan.ObservedWireGuard, _, w *plan.WireGuard) { w.Peers = nil }, peer + "remove=true\n"},
		{"new peer", func(o *plan.ObservedWireGuard, _, w *plan.WireGuard) { o.Peers = nil },
			peer + "endpoint=192.0.2.1:51820\npersistent_keepalive_interval=15\nreplace_allowed_ips=true\nallowed_ip=10.99.0.2/32\nallowed_ip=fd99::2/128\n"},
		{"learned endpoint", func(o *plan.ObservedWireGuard, _, _ *plan.WireGuard) { o.Peers[0].Endpoint = there }, ""},
		{"moved endpoint", func(_ *plan.ObservedWireGuard, _, w *plan.WireGuard) { w.Peers[0].Endpoint = there }, peer + "endpoint=[2001:db8::1]:51820\n"},
		{"missing endpoint", func(o *plan.ObservedWireGuard, _, _ *plan.WireGuard) { o.Peers[0].Endpoint = netip.AddrPort{} }, peer + "endpoint=192.0.2.1:51820\n"},
		{"adopted device", func(o *plan.ObservedWireGuard, b, _ *plan.WireGuard) {
			*b = plan.WireGuard{}
			o.Peers[0].Endpoint = there
		}, ""},
		{"endpoint no longer known", func(_ *plan.ObservedWireGuard, _, w *plan.WireGuard) { w.Peers[0].Endpoint = netip.AddrPort{} }, ""},
		{"keepalive", func(_ *plan.ObservedWireGuard, _, w *plan.WireGuard) { w.Peers[0].PersistentKeepalive = 0 }, peer + "persistent_keepalive_interval=0\n"},
		{"more addresses", func(_ *plan.ObservedWireGuard, _, w *plan.WireGuard) { w.Peers[0].AllowedIPs = prefixes }, peer + "allowed_ip=10.99.0.3/32\n"},
		{"fewer addresses", func(_ *plan.ObservedWireGuard, _, w *plan.WireGuard) { w.Peers[0].AllowedIPs = prefixes[1:2] }, peer + "replace_allowed_ips=true\nallowed_ip=fd99::2/128\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o, before, want := settled(), wanted(), wanted()
			test.change(&o, &before, &want)
			if d := cmp.Diff(test.expect, uapi(configure(o, before, want))); d != "" {
				t.Errorf("the change is (-want +got):\n%s", d)
			}
		})
	}
}

func TestRenewed(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(o *plan.ObservedWireGuard, before, want *plan.WireGuard)
		expect []netip.AddrPort // of the renewed peers
	}{
		{"as wanted", func(*plan.ObservedWireGuard, *plan.WireGuard, *plan.WireGuard) {}, []netip.AddrPort{here}},
		{"learned", func(o *plan.ObservedWireGuard, _, _ *plan.WireGuard) { o.Peers[0].Endpoint = there }, []netip.AddrPort{there}},
		{"moved", func(_ *plan.ObservedWireGuard, _, w *plan.WireGuard) { w.Peers[0].Endpoint = there }, []netip.AddrPort{there}},
		{"no longer wanted", func(_ *plan.ObservedWireGuard, _, w *plan.WireGuard) { w.Peers[0].Endpoint = netip.AddrPort{} }, []netip.AddrPort{here}},
		{"none yet", func(o *plan.ObservedWireGuard, _, _ *plan.WireGuard) { o.Peers[0].Endpoint = netip.AddrPort{} }, []netip.AddrPort{here}},
		{"peer not wanted", func(_ *plan.ObservedWireGuard, _, w *plan.WireGuard) { w.Peers = nil }, nil},
		{"peer missing", func(o *plan.ObservedWireGuard, _, _ *plan.WireGuard) { o.Peers = nil }, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			o, before, want := settled(), wanted(), wanted()
			test.change(&o, &before, &want)
			var got []netip.AddrPort
			for _, p := range renewed(o, before, want, []key.Public{other.Public()}) {
				got = append(got, p.Endpoint)
			}
			if !slices.Equal(got, test.expect) {
				t.Errorf("renewed with the endpoints %v, want %v", got, test.expect)
			}
		})
	}
	if got := renewed(settled(), wanted(), wanted(), []key.Public{private.Public()}); got != nil {
		t.Errorf("another peer than the one named: %+v", got)
	}
}

// A new endpoint that was set by a renewal is not set once more.
func TestRemember(t *testing.T) {
	want := wanted()
	want.Peers[0].Endpoint = there
	if got := remember(wanted().Peers, want.Peers, []key.Public{other.Public()}); got[0].Endpoint != there {
		t.Errorf("remembered %+v", got)
	}
	if got := remember(wanted().Peers, want.Peers, nil); got[0].Endpoint != here {
		t.Errorf("without a name remembered %+v", got)
	}
}

func TestConfigureSetsTheKey(t *testing.T) {
	o := settled()
	o.PublicKey = other.Public()
	c := configure(o, wanted(), wanted())
	if c.PrivateKey == nil || *c.PrivateKey != private || len(c.Peers) != 0 {
		t.Errorf("the change is %+v", c)
	}
}

// Whatever stands, one change leads to what is wanted, and then there is no
// other.
func TestConfigureConverges(t *testing.T) {
	keys := []key.Public{private.Public(), other.Public(), {1}, {2}}
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) (w plan.WireGuard) {
			w.PrivateKey = rapid.SampledFrom([]key.Private{private, other}).Draw(t, name+" key")
			w.ListenPort = rapid.SampledFrom([]uint16{0, 51820, 51821}).Draw(t, name+" port")
			for i, k := range rapid.SliceOfNDistinct(rapid.SampledFrom(keys), 0, 4, rapid.ID).Draw(t, name+" peers") {
				w.Peers = append(w.Peers, plan.Peer{
					PublicKey:  k,
					Endpoint:   rapid.SampledFrom([]netip.AddrPort{{}, here, there}).Draw(t, name+" endpoint"),
					AllowedIPs: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 99, 0, byte(i)}), 32)},
				})
			}
			return w
		}
		first, second := draw("first"), draw("second")
		m := model{peers: map[key.Public]plan.ObservedPeer{}}
		m.apply(configure(m.observe(), plan.WireGuard{}, first))
		m.apply(configure(m.observe(), first, second))
		if c := configure(m.observe(), second, second); uapi(c) != "" {
			t.Fatalf("not settled: %+v", c)
		}
		if len(m.peers) != len(second.Peers) || m.public != second.PrivateKey.Public() {
			t.Fatalf("%d peers, want %d", len(m.peers), len(second.Peers))
		}
	})
}

// model does what a device does with a change.
type model struct {
	public key.Public
	port   uint16
	mark   uint32
	peers  map[key.Public]plan.ObservedPeer
}

func (m *model) apply(c configuration) {
	if c.PrivateKey != nil {
		m.public = c.PrivateKey.Public()
	}
	if c.ListenPort != nil {
		if m.port = *c.ListenPort; m.port == 0 {
			m.port = 40000
		}
	}
	if c.FirewallMark != nil {
		m.mark = *c.FirewallMark
	}
	for _, p := range c.Peers {
		m.applyPeer(p)
	}
}

func (m *model) applyPeer(c peerChange) {
	if c.Remove {
		delete(m.peers, c.PublicKey)
		return
	}
	p := m.peers[c.PublicKey]
	p.PublicKey = c.PublicKey
	if c.Endpoint.IsValid() {
		p.Endpoint = c.Endpoint
	}
	if c.Keepalive != nil {
		p.PersistentKeepalive = *c.Keepalive
	}
	if c.Replace {
		p.AllowedIPs = nil
	}
	for k, o := range m.peers { // an address belongs to one peer
		o.AllowedIPs = without(o.AllowedIPs, c.AllowedIPs)
		m.peers[k] = o
	}
	p.AllowedIPs = append(slices.Clone(p.AllowedIPs), c.AllowedIPs...)
	m.peers[c.PublicKey] = p
}

func (m *model) observe() plan.ObservedWireGuard {
	o := plan.ObservedWireGuard{PublicKey: m.public, ListenPort: m.port, FirewallMark: m.mark}
	for _, p := range m.peers {
		o.Peers = append(o.Peers, p)
	}
	return o
}
