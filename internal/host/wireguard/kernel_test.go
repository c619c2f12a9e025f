package wireguard

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// fakeClient stands in for wgctrl. It remembers what it was told, and what it
// says of its device is set by the test.
type fakeClient struct {
	device *wgtypes.Device
	told   []wgtypes.Config
	err    error
}

func (f *fakeClient) Device(string) (*wgtypes.Device, error) {
	if f.device == nil {
		return nil, os.ErrNotExist
	}
	return f.device, nil
}

func (f *fakeClient) ConfigureDevice(_ string, c wgtypes.Config) error {
	f.told = append(f.told, c)
	return f.err
}

func (f *fakeClient) Close() error { return nil }

// newKernel returns a kernel device whose interface is made by the fake.
func newKernel() (*kernel, *fakeClient) {
	f := &fakeClient{}
	k := &kernel{name: "gl0", client: f, makeLink: func(string, int) error {
		if f.device == nil {
			f.device = &wgtypes.Device{}
		}
		return nil
	}}
	return k, f
}

func ipNet(text string) net.IPNet {
	_, n, err := net.ParseCIDR(text)
	if err != nil {
		panic(err)
	}
	return *n
}

// kernelDevice is what the kernel says of a device that is as wanted().
func kernelDevice() *wgtypes.Device {
	return &wgtypes.Device{
		PrivateKey: wgtypes.Key(private.Reveal()), PublicKey: wgtypes.Key(private.Public()),
		ListenPort: 40000, FirewallMark: 0x20000000,
		Peers: []wgtypes.Peer{{
			PublicKey: wgtypes.Key(other.Public()), Endpoint: net.UDPAddrFromAddrPort(here),
			PersistentKeepaliveInterval: 15 * time.Second, LastHandshakeTime: time.Unix(1700000000, 0),
			ReceiveBytes: 1, TransmitBytes: 2, AllowedIPs: []net.IPNet{ipNet("10.99.0.2/32"), ipNet("fd99::2/128")},
		}},
	}
}

func TestKernelApply(t *testing.T) {
	k, f := newKernel()
	if o, err := k.Observe(t.Context()); err != nil || o.Present {
		t.Errorf("without an interface: %+v, %v", o, err)
	}
	if err := k.Apply(t.Context(), wanted()); err != nil {
		t.Fatal(err)
	}
	secret, port, mark, keepalive := wgtypes.Key(private.Reveal()), 0, 0x20000000, 15*time.Second
	want := []wgtypes.Config{{
		PrivateKey: &secret, ListenPort: &port, FirewallMark: &mark,
		Peers: []wgtypes.PeerConfig{{
			PublicKey: wgtypes.Key(other.Public()), Endpoint: net.UDPAddrFromAddrPort(here), PersistentKeepaliveInterval: &keepalive,
			ReplaceAllowedIPs: true, AllowedIPs: []net.IPNet{ipNet("10.99.0.2/32"), ipNet("fd99::2/128")},
		}},
	}}
	if d := cmp.Diff(want, f.told); d != "" {
		t.Errorf("the kernel was told (-want +got):\n%s", d)
	}
	f.told, f.device = nil, kernelDevice()
	if err := k.Apply(t.Context(), wanted()); err != nil || len(f.told) != 0 {
		t.Errorf("where all is as wanted, the kernel was told %+v: %v", f.told, err)
	}
}

func TestKernelObserve(t *testing.T) {
	k, f := newKernel()
	f.device = kernelDevice()
	got, err := k.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := settled()
	want.Kind = plan.Kernel
	want.Peers[0].LatestHandshake, want.Peers[0].ReceivedBytes, want.Peers[0].SentBytes = time.Unix(1700000000, 0), 1, 2
	if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{}, netip.Prefix{})); d != "" {
		t.Errorf("observed (-want +got):\n%s", d)
	}
}

// A peer that is removed and added in one message starts again.
func TestKernelRebind(t *testing.T) {
	k, f := newKernel()
	if err := k.Rebind(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := k.Apply(t.Context(), wanted()); err != nil {
		t.Fatal(err)
	}
	f.told = nil
	if err := k.Rebind(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(f.told) != 1 || len(f.told[0].Peers) != 2 {
		t.Fatalf("the kernel was told %+v", f.told)
	}
	c := f.told[0]
	if c.ListenPort == nil || *c.ListenPort != 0 || c.PrivateKey != nil {
		t.Errorf("the port is to be %v", c.ListenPort)
	}
	if again := c.Peers[1]; !c.Peers[0].Remove || again.Remove || again.Endpoint.String() != here.String() || len(again.AllowedIPs) != 2 {
		t.Errorf("the peers are to be %+v", c.Peers)
	}
}

// wgctrl would split a message of many peers, and then drop endpoints.
func TestKernelRenew(t *testing.T) {
	k, f := newKernel()
	want := wanted()
	f.device = &wgtypes.Device{}
	var all []key.Public
	for i := range 100 {
		p := plan.Peer{PublicKey: key.Public{byte(i + 1)}, AllowedIPs: prefixes[:2]}
		want.Peers = append(want.Peers, p)
		all = append(all, p.PublicKey)
		f.device.Peers = append(f.device.Peers, wgtypes.Peer{PublicKey: wgtypes.Key(p.PublicKey), Endpoint: net.UDPAddrFromAddrPort(there)})
	}
	if err := k.Renew(t.Context(), want, append(all, other.Public())); err != nil { // which the device does not have
		t.Fatal(err)
	}
	gone, back := map[wgtypes.Key]bool{}, map[wgtypes.Key]bool{}
	for _, c := range f.told {
		if len(c.Peers) > 32 || c.ListenPort != nil || c.PrivateKey != nil {
			t.Errorf("a message with %d peers: %+v", len(c.Peers), c)
		}
		for _, p := range c.Peers {
			switch {
			case p.Remove:
				gone[p.PublicKey] = true
			case !gone[p.PublicKey] || p.Endpoint.String() != there.String() || len(p.AllowedIPs) != 2:
				t.Errorf("added again: %+v", p)
			default:
				back[p.PublicKey] = true
			}
		}
	}
	if len(gone) != len(all) || len(back) != len(all) {
		t.Errorf("%d peers were removed and %d added, not %d", len(gone), len(back), len(all))
	}
}

func TestKernelErrors(t *testing.T) {
	k, f := newKernel()
	for err, want := range map[error]error{unix.EADDRINUSE: ErrPortInUse, unix.EPERM: ErrPrivilege, unix.EINVAL: unix.EINVAL} {
		f.err = err
		if got := k.Apply(t.Context(), wanted()); !errors.Is(got, want) {
			t.Errorf("%v becomes %v", err, got)
		}
	}
}
