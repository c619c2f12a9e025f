package registry

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/key"
)

var (
	noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	gate = Gate{
		PublicKey: key.Public{0xff},
		Prefix4:   netip.MustParsePrefix("10.99.0.0/24"),
		Prefix6:   netip.MustParsePrefix("fd00:99::/64"),
	}
	both      = forward.Families{IPv4: true, IPv6: true}
	permitted = Policy{
		Allowed: config.AllPorts(),
		Reserved: []Reserved{
			{ports("22/tcp"), "ssh"},
			{ports("51820/udp"), "WireGuard"},
			{ports("51821"), "the control channel"},
		},
		MaxForwards: 256,
		Families:    both,
	}
)

// ports reads "22/tcp 443".
func ports(text string) forward.PortSet {
	var all []forward.Ports
	for _, s := range strings.Fields(text) {
		p, err := forward.ParsePorts(s)
		if err != nil {
			panic(err)
		}
		all = append(all, p...)
	}
	return forward.NewPortSet(all...)
}

// wants is a forward for everyone.
func wants(name, text string) forward.Published {
	return forward.Published{Name: name, Ports: ports(text), Families: both}
}

func newSecret(t testing.TB) key.Secret {
	t.Helper()
	s, err := key.NewSecret()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// enrol lets a home in whose key begins with the given byte.
func enrol(t testing.TB, s *State, name string, k byte) Home {
	t.Helper()
	secret := newSecret(t)
	v, err := s.Invite(gate, name, secret, noon, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	h, err := s.Redeem(gate, secret, v.Address4, key.Public{k}, noon)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func push(t testing.TB, s *State, home string, p Policy, wanted ...forward.Published) []Verdict {
	t.Helper()
	h, _ := s.HomeByName(home)
	verdicts, err := s.Push(home, h.Generation+1, wanted, p)
	if err != nil {
		t.Fatal(err)
	}
	return verdicts
}

// wantCode checks the kind of an error, and that it is a whole sentence with
// something to do in it.
func wantCode(t testing.TB, err error, code Code) {
	t.Helper()
	if !errors.Is(err, &Error{Code: code}) {
		t.Fatalf("got error %v, want one of code %s", err, code)
	}
	if len(err.Error()) < 30 {
		t.Errorf("error %q does not say what to do", err)
	}
}

func TestEnrol(t *testing.T) {
	s := New()
	secret := newSecret(t)
	v, err := s.Invite(gate, "attic", secret, noon, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if v.Address4 != netip.MustParseAddr("10.99.0.254") || v.PublicKey != secret.Key().Public() {
		t.Errorf("invite is %+v, want the top address and the one-time key", v)
	}
	h, err := s.Redeem(gate, secret, v.Address4, key.Public{1}, noon.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	want := Home{
		Name: "attic", PublicKey: key.Public{1}, Enrolled: noon.Add(time.Minute),
		Address4: netip.MustParseAddr("10.99.0.2"), Address6: netip.MustParseAddr("fd00:99::2"),
	}
	if diff := cmp.Diff(want, h, cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})); diff != "" {
		t.Error(diff)
	}
	for _, addr := range []netip.Addr{h.Address4, h.Address6} {
		if got, ok := s.HomeByAddress(addr); !ok || got.Name != "attic" {
			t.Errorf("HomeByAddress(%v) = %v, %v", addr, got.Name, ok)
		}
	}
	if _, ok := s.HomeByAddress(netip.Addr{}); ok {
		t.Error("the zero address belongs to a home")
	}
	if got, ok := s.InviteByAddress(v.Address4); !ok || !got.Redeemed() {
		t.Error("the used invite is not kept for a lost answer")
	}
	if err := s.Check(gate); err != nil {
		t.Error(err)
	}
}

func TestInviteRefused(t *testing.T) {
	s := New()
	enrol(t, s, "attic", 1)
	if _, err := s.Invite(gate, "cellar", newSecret(t), noon, time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		ttl  time.Duration
		want Code
	}{
		{"Attic; reboot", time.Hour, BadName},
		{"", time.Hour, BadName},
		{"shed", 59 * time.Second, BadDuration},
		{"shed", 30*24*time.Hour + 1, BadDuration},
		{"attic", time.Hour, NameTaken},
		{"cellar", time.Hour, NameTaken},
	} {
		before := s.Clone()
		_, err := s.Invite(gate, test.name, newSecret(t), noon, test.ttl)
		wantCode(t, err, test.want)
		sameState(t, before, s)
	}
	if _, err := s.Invite(gate, "cellar", newSecret(t), noon.Add(time.Hour), time.Hour); err != nil {
		t.Errorf("an expired invite blocks its name: %v", err)
	}
}

func TestRedeemRefused(t *testing.T) {
	s := New()
	enrol(t, s, "attic", 1)
	other := newSecret(t)
	if _, err := s.Invite(gate, "shed", other, noon, time.Hour); err != nil {
		t.Fatal(err)
	}
	secret := newSecret(t)
	v, err := s.Invite(gate, "cellar", secret, noon, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		secret key.Secret
		from   netip.Addr
		key    key.Public
		now    time.Time
		want   Code
	}{
		"another secret":             {newSecret(t), v.Address4, key.Public{2}, noon, UnknownInvite},
		"a home's address":           {secret, netip.MustParseAddr("10.99.0.2"), key.Public{2}, noon, WrongPeer},
		"another invite's address":   {secret, v.Address4.Next(), key.Public{2}, noon, WrongPeer},
		"at its end":                 {secret, v.Address4, key.Public{2}, noon.Add(time.Hour), ExpiredInvite},
		"no key":                     {secret, v.Address4, key.Public{}, noon, BadKey},
		"the gate's key":             {secret, v.Address4, gate.PublicKey, noon, BadKey},
		"a home's key":               {secret, v.Address4, key.Public{1}, noon, BadKey},
		"its own one-time key":       {secret, v.Address4, v.PublicKey, noon, BadKey},
		"another invite's one":       {secret, v.Address4, other.Key().Public(), noon, BadKey},
		"used, by its own inventor":  {other, v.Address4, key.Public{2}, noon, WrongPeer},
		"long after the invite died": {secret, v.Address4, key.Public{2}, noon.Add(9000 * time.Hour), ExpiredInvite},
	} {
		t.Run(name, func(t *testing.T) {
			before := s.Clone()
			_, err := s.Redeem(gate, test.secret, test.from, test.key, test.now)
			wantCode(t, err, test.want)
			sameState(t, before, s)
		})
	}
	if _, err := s.Redeem(gate, secret, v.Address4, key.Public{2}, noon.Add(time.Hour-time.Second)); err != nil {
		t.Errorf("one second before its end: %v", err)
	}
}

func TestRedeemAgain(t *testing.T) {
	s := New()
	secret := newSecret(t)
	v, err := s.Invite(gate, "attic", secret, noon, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	first, err := s.Redeem(gate, secret, v.Address4, key.Public{1}, noon)
	if err != nil {
		t.Fatal(err)
	}
	// The same key gets the same answer, also after the invite's own end.
	for _, from := range []netip.Addr{v.Address4, first.Address4, first.Address6} {
		again, err := s.Redeem(gate, secret, from, key.Public{1}, noon.Add(Grace))
		if err != nil || again.Address4 != first.Address4 || len(s.Homes) != 1 {
			t.Errorf("retry from %v: %+v, %v", from, again, err)
		}
	}
	_, err = s.Redeem(gate, secret, v.Address4, key.Public{2}, noon)
	wantCode(t, err, UsedInvite)
	_, err = s.Redeem(gate, secret, v.Address4.Prev(), key.Public{1}, noon)
	wantCode(t, err, WrongPeer)
	for _, late := range []time.Time{noon.Add(Grace + time.Second), noon.AddDate(-50, 0, 0)} {
		_, err = s.Redeem(gate, secret, v.Address4, key.Public{1}, late)
		wantCode(t, err, UsedInvite)
	}
	if _, err := s.Revoke("attic"); err != nil {
		t.Fatal(err)
	}
	_, err = s.Redeem(gate, secret, v.Address4, key.Public{1}, noon)
	wantCode(t, err, UnknownInvite)
}

func TestExpire(t *testing.T) {
	s := New()
	enrol(t, s, "attic", 1)
	if _, err := s.Invite(gate, "shed", newSecret(t), noon, 5*time.Minute); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		at        time.Duration
		forgotten string
	}{
		{Memory, "[]"},
		{Memory + time.Second, "[attic]"}, // used at noon
		{Memory + 5*time.Minute, "[]"},
		{Memory + 5*time.Minute + time.Second, "[shed]"}, // expired
	} {
		if got := s.Expire(noon.Add(c.at)); fmt.Sprint(got.Forgotten) != c.forgotten || len(got.Ended) > 0 != (c.at == Memory) {
			t.Errorf("after %v: %+v, want %s forgotten", c.at, got, c.forgotten)
		}
	}
	if len(s.Homes) != 1 || len(s.Invites) != 0 {
		t.Errorf("left %d homes and %d invites, want the home alone", len(s.Homes), len(s.Invites))
	}
}

func TestThePastGivesWayToNewInvites(t *testing.T) {
	small := gate
	small.Prefix4 = netip.MustParsePrefix("10.99.0.0/29") // five addresses besides the gate's
	small.Prefix6 = netip.Prefix{}
	s := New()
	for i, name := range []string{"a", "b", "c", "d", "e", "f"} {
		at := noon.Add(time.Duration(i) * time.Hour)
		if _, err := s.Invite(small, name, newSecret(t), at, time.Minute); err != nil {
			t.Fatalf("invite %s, after those before it have expired: %v", name, err)
		}
	}
}

func TestRevoke(t *testing.T) {
	s := New()
	enrol(t, s, "attic", 1)
	if _, err := s.Invite(gate, "shed", newSecret(t), noon, time.Hour); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]Revoked{"attic": {Home: true}, "shed": {Invite: true}} {
		if got, err := s.Revoke(name); err != nil || got != want {
			t.Errorf("Revoke(%s) = %+v, %v", name, got, err)
		}
	}
	_, err := s.Revoke("attic")
	wantCode(t, err, UnknownHome)
	if len(s.Homes)+len(s.Invites) != 0 {
		t.Errorf("left over: %+v", s)
	}
}

// A tunnel that is too small says so before a home is let in that finds no
// place.
func TestExhaustion(t *testing.T) {
	g := gate
	g.Prefix4 = netip.MustParsePrefix("10.99.0.0/29")
	s := New()
	names := []string{"a", "b", "c", "d"}
	for i, name := range names {
		secret, at := newSecret(t), noon.Add(time.Duration(i)*time.Hour)
		v, err := s.Invite(g, name, secret, at, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Redeem(g, secret, v.Address4, key.Public{byte(i + 1)}, at); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.Invite(g, "e", newSecret(t), noon.Add(24*time.Hour), time.Hour)
	wantCode(t, err, Full)
	for _, bad := range []Gate{
		{Prefix4: netip.MustParsePrefix("10.99.0.0/30")},
		{Prefix4: netip.MustParsePrefix("fd00::/64")},
		{},
		{Prefix4: gate.Prefix4, Prefix6: netip.MustParsePrefix("fd00::/121")},
		{Prefix4: gate.Prefix4, Prefix6: netip.MustParsePrefix("10.98.0.0/24")},
	} {
		_, err := New().Invite(bad, "a", newSecret(t), noon, time.Hour)
		wantCode(t, err, UnusableTunnel)
	}
}

func TestGateAddresses(t *testing.T) {
	if gate.Address4() != netip.MustParseAddr("10.99.0.1") || gate.Address6() != netip.MustParseAddr("fd00:99::1") {
		t.Errorf("the gate is %v and %v", gate.Address4(), gate.Address6())
	}
	narrow := Gate{Prefix4: netip.MustParsePrefix("10.0.0.0/16"), Prefix6: netip.MustParsePrefix("fd00::/120")}
	if got := host(narrow.Prefix6, narrow.lastHost()); got != netip.MustParseAddr("fd00::ff") {
		t.Errorf("the last IPv6 host is %v", got)
	}
	if got := host(narrow.Prefix6, 256); got.IsValid() {
		t.Errorf("host 256 of a /120 is %v", got)
	}
}

func TestSetEndpoint(t *testing.T) {
	s := New()
	enrol(t, s, "attic", 1)
	at := netip.MustParseAddrPort("203.0.113.7:4711")
	if !s.SetEndpoint("attic", at) || s.SetEndpoint("attic", at) || s.SetEndpoint("shed", at) {
		t.Error("news and no news are confused")
	}
}
