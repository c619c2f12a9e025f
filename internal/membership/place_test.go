package membership

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/gatelodge/gatelodge/internal/control"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/store"
)

// invited returns an invite, and the answer of an honest gate.
func invited() (key.Invite, control.EnrolResponse) {
	addr := netip.MustParseAddr
	invite := key.Invite{
		Gate: key.Public{7}, GateAddress: addr("10.99.0.1"), Address: addr("10.99.0.254"), PrefixBits: 24,
		ControlPort: 55108, Endpoints: []string{"198.51.100.1:55107"},
	}
	return invite, control.EnrolResponse{
		Version: control.Version, Name: "attic",
		Address4: addr("10.99.0.2"), Gate4: addr("10.99.0.1"), Prefix4: netip.MustParsePrefix("10.99.0.0/24"),
		Address6: addr("fd12:3456:789a::2"), Gate6: addr("fd12:3456:789a::1"), Prefix6: netip.MustParsePrefix("fd12:3456:789a::/64"),
	}
}

// here is a machine whose resolver is its router.
func here() plan.Facts {
	return plan.Facts{IPv6: true, Networks: []plan.Network{
		{Prefix: netip.MustParsePrefix("192.168.1.0/24"), Interface: "eth0", Default: true},
		{Prefix: netip.MustParsePrefix("fd77::/64"), Interface: "eth0", Default: true},
	}}
}

// A gate gets nothing at a home that its invite does not say, and what it
// tries leaves nothing behind.
func TestJoinTakesNothingThatTheInviteDoesNotSay(t *testing.T) {
	set4 := func(prefix, gate, own string) func(*control.EnrolResponse) {
		return func(r *control.EnrolResponse) {
			r.Prefix4, r.Gate4, r.Address4 = netip.MustParsePrefix(prefix), netip.MustParseAddr(gate), netip.MustParseAddr(own)
		}
	}
	set6 := func(prefix, gate, own string) func(*control.EnrolResponse) {
		return func(r *control.EnrolResponse) {
			r.Prefix6, r.Gate6, r.Address6 = netip.MustParsePrefix(prefix), netip.MustParseAddr(gate), netip.MustParseAddr(own)
		}
	}
	for name, answer := range map[string]func(*control.EnrolResponse){
		"home's resolver":          set4("8.8.8.0/24", "8.8.8.1", "8.8.8.8"),
		"the gate at the resolver": set4("8.8.8.0/24", "8.8.8.8", "8.8.8.2"),
		"another private prefix":   set4("10.98.0.0/24", "10.98.0.1", "10.98.0.2"),
		"a wider prefix":           set4("10.96.0.0/11", "10.99.0.1", "10.100.0.2"),
		"a narrower prefix":        set4("10.99.0.0/25", "10.99.0.1", "10.99.0.2"),
		"home outside":             set4("10.99.0.0/24", "10.99.0.1", "10.99.1.2"),
		"another gate address":     set4("10.99.0.0/24", "10.99.0.3", "10.99.0.2"),
		"the gate's own":           set4("10.99.0.0/24", "10.99.0.1", "10.99.0.1"),
		"the invite's":             set4("10.99.0.0/24", "10.99.0.1", "10.99.0.254"),
		"the network's address":    set4("10.99.0.0/24", "10.99.0.1", "10.99.0.0"),
		"the broadcast address":    set4("10.99.0.0/24", "10.99.0.1", "10.99.0.255"),
		"this machine's network":   set4("192.168.1.0/24", "192.168.1.1", "192.168.1.2"),
		"IPv6 of the internet":     set6("2001:4860:4860::/64", "2001:4860:4860::1", "2001:4860:4860::8888"),
		"IPv6 link-local":          set6("fe80::/64", "fe80::1", "fe80::2"),
		"site-local":               set6("fec0::/64", "fec0::1", "fec0::2"),
		"all unique local ones":    set6("fc00::/7", "fc00::1", "fd00::2"),
		"an unusual gate":          set6("fd12::/64", "fd12::7", "fd12::2"),
		"home outside, IPv6":       set6("fd12::/64", "fd12::1", "fd13::2"),
		"the anycast address":      set6("fd12::/64", "fd12::1", "fd12::"),
		"this machine's, IPv6":     set6("fd77::/64", "fd77::1", "fd77::2"),
		"IPv4 in IPv6":             set6("::ffff:10.99.0.0/120", "::ffff:10.99.0.1", "::ffff:10.99.0.2"),
		"IPv4 for IPv6":            set6("10.98.0.0/24", "10.98.0.1", "10.98.0.2"),
		"no IPv6 but a gate's":     func(r *control.EnrolResponse) { r.Prefix6, r.Address6 = netip.Prefix{}, netip.Addr{} },
		"no IPv6 prefix":           func(r *control.EnrolResponse) { r.Prefix6 = netip.Prefix{} },
		"no IPv4 at all": func(r *control.EnrolResponse) {
			r.Prefix4, r.Gate4, r.Address4 = netip.Prefix{}, netip.Addr{}, netip.Addr{}
		},
		"IPv6 in the place of IPv4": func(r *control.EnrolResponse) { r.Prefix4, r.Gate4, r.Address4 = r.Prefix6, r.Gate6, r.Address6 },
	} {
		t.Run(name, func(t *testing.T) {
			st, before := fresh(t)
			invite, r := invited()
			answer(&r)
			_, err := settle(st, Memory{}, invite, r, here())
			if _, refused := errors.AsType[*local.RefusedError](err); !refused {
				t.Errorf("%+v: %v", r, err)
			}
			if after := files(t, st); after != before {
				t.Errorf("it left %s", after)
			}
		})
	}
}

func TestJoinTakesWhatTheInviteSays(t *testing.T) {
	for name, change := range map[string]func(*control.EnrolResponse){
		"both families": func(*control.EnrolResponse) {},
		"IPv4 alone": func(r *control.EnrolResponse) {
			r.Prefix6, r.Gate6, r.Address6 = netip.Prefix{}, netip.Addr{}, netip.Addr{}
		},
		"the last home": func(r *control.EnrolResponse) { r.Address4 = netip.MustParseAddr("10.99.0.253") },
	} {
		st, _ := fresh(t)
		invite, r := invited()
		change(&r)
		var m Memory
		if _, err := settle(st, Memory{}, invite, r, here()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := st.Load(StoredName, &m); err != nil || m.Joined == nil || m.Joined.Addresses[0] != r.Address4 || m.Joined.GatePublicKey != invite.Gate {
			t.Errorf("%s: remembered %+v, %v", name, m.Joined, err)
		}
	}
}

// An invite of a tunnel that could be somebody's on the internet is worth
// nothing, no matter who made it.
func TestJoinRefusesAPublicTunnel(t *testing.T) {
	st, _ := fresh(t)
	invite, r := invited()
	invite.GateAddress, invite.Address = netip.MustParseAddr("8.8.8.1"), netip.MustParseAddr("8.8.8.254")
	r.Prefix4, r.Gate4, r.Address4 = invite.Tunnel(), invite.GateAddress, netip.MustParseAddr("8.8.8.8")
	if _, err := settle(st, Memory{}, invite, r, here()); err == nil {
		t.Error("joined")
	}
}

// fresh opens a store and lists its files.
func fresh(t *testing.T) (*store.Store, string) {
	t.Helper()
	st, err := store.Open(filepath.Join(t.TempDir(), "state"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return st, files(t, st)
}

func files(t *testing.T, st *store.Store) string {
	t.Helper()
	entries, err := os.ReadDir(st.Dir())
	if err != nil {
		t.Fatal(err)
	}
	names := ""
	for _, e := range entries {
		names += e.Name() + "\n"
	}
	return names
}
