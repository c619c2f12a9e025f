package gate

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gatelodge/gatelodge/internal/control"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/registry"
	"github.com/gatelodge/gatelodge/internal/store"
)

// Who is not at the address of a home is nobody: not the gate, not an invite,
// not a neighbour, and no spelling of an address stands for another.
func TestOnlyItsOwnAddressesSpeakForAHome(t *testing.T) {
	r := registry.New()
	r.Homes = []registry.Home{
		{Name: "attic", Address4: netip.MustParseAddr("10.99.0.2"), Address6: netip.MustParseAddr("fd99::2")},
		{Name: "barn", Address4: netip.MustParseAddr("10.99.0.3")}, // none in IPv6
	}
	r.Invites = []registry.Invite{{Name: "shed", Address4: netip.MustParseAddr("10.99.0.254")}}
	rapid.Check(t, func(t *rapid.T) {
		var from netip.Addr
		switch rapid.IntRange(0, 3).Draw(t, "family") {
		case 0: // none
		case 1:
			from = netip.AddrFrom4([4]byte{10, 99, rapid.ByteRange(0, 1).Draw(t, "net"), rapid.Byte().Draw(t, "host")})
		case 2:
			a := netip.MustParseAddr("fd99::").As16()
			a[15] = rapid.ByteRange(0, 4).Draw(t, "host")
			from = netip.AddrFrom16(a)
		case 3:
			from = netip.AddrFrom16(netip.AddrFrom4([4]byte{10, 99, 0, rapid.ByteRange(0, 4).Draw(t, "mapped")}).As16())
		}
		h, err := tenant(r, from)
		want := map[string]string{"10.99.0.2": "attic", "fd99::2": "attic", "10.99.0.3": "barn"}[from.String()]
		if h.Name != want || (err == nil) != (want != "") {
			t.Fatalf("%v speaks for %q: %v", from, h.Name, err)
		}
	})
}

// Nobody's messages are refused, and change nothing.
func TestAStrangerIsRefused(t *testing.T) {
	s := newStanding(t, "attic")
	before := s.memory.state.Registry
	for _, from := range []string{"10.99.0.1", "10.99.0.3", "10.99.0.254", "127.0.0.1"} {
		at := netip.MustParseAddr(from)
		s.do(t, func() error {
			_, push := s.channel.Push(t.Context(), at, 1, wish(0, 1, 3))
			_, state := s.channel.State(t.Context(), at)
			_, look := s.channel.Doctor(t.Context(), at, control.DoctorAll)
			_, trace := s.channel.Doctor(t.Context(), at, control.DoctorTrace)
			for _, err := range []error{push, state, look, trace} {
				if !errors.Is(err, &control.Error{Code: control.UnknownHome}) {
					t.Errorf("%s is answered with %v", from, err)
				}
			}
			return nil
		})
	}
	if s.memory.state.Registry != before {
		t.Error("a stranger has changed the registry")
	}
}

// What cannot be written down is not granted: neither a forward nor a home.
func TestWhatIsNotOnDiskIsNotGranted(t *testing.T) {
	s := newStanding(t, "attic")
	secret, err := key.NewSecret()
	must(t, err)
	var invite registry.Invite
	must(t, s.memory.change(func(r *registry.State) (err error) {
		invite, err = r.Invite(s.memory.state.Identity(), "barn", secret, time.Now(), time.Hour)
		return err
	}))
	must(t, s.store.Close())
	private, err := key.NewPrivate()
	must(t, err)
	s.do(t, func() error {
		if _, err := s.channel.Push(t.Context(), s.homes["attic"].Address4, 1, wish(0, 1, 3)); err == nil {
			t.Error("a push counts as accepted")
		}
		if _, err := s.channel.Enrol(t.Context(), invite.Address4, secret, private.Public()); err == nil {
			t.Error("a home counts as enrolled")
		}
		return nil
	})
	if n := len(s.memory.state.Registry.Granted()); n != 0 || len(s.memory.state.Registry.Homes) != 1 || s.memory.admits(private.Public()) {
		t.Errorf("%d forwards are granted, the homes are %+v", n, s.memory.state.Registry.Homes)
	}
	s.memory.store, err = store.Open(s.paths.State(), nil)
	must(t, err)
	s.do(t, func() error {
		_, err := s.channel.Push(t.Context(), s.homes["attic"].Address4, 1, []forward.Published{wish(0, 1, 1)[0]})
		return err
	})
	if n := len(s.memory.state.Registry.Granted()); n != 1 {
		t.Errorf("once the disk is well, %d forwards are granted", n)
	}
}
