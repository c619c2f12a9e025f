// Package registry knows who may come in to a gate: the homes enrolled, the
// invites given out, the addresses of both in the tunnel, and the forwards
// granted to each home.
//
// It is pure: time and secrets are handed in, and it reads and writes nothing.
// A State is changed in place by one caller at a time; a caller that wants to keep
// the old one until the new one is on disk works on a Clone. A method that
// returns an error has changed nothing.
package registry

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/key"
)

// Version is the version of State in files.
const Version = 1

// State is all that a gate remembers about others. It is stored as JSON.
type State struct {
	Version       int
	Homes         []Home   // in the order in which they enrolled
	Invites       []Invite // in the order in which they were made
	NextForwardID uint32   // where the search for a free forward ID begins
	Former        []Former `json:",omitempty"` // in the order in which they were revoked
}

// New returns the state of a gate that nobody has been invited to.
func New() *State { return &State{Version: Version, NextForwardID: 1} }

// Gate is what the registry has to know of the gate itself.
type Gate struct {
	PublicKey key.Public
	// Prefix4 and Prefix6 are the tunnel's. The gate has the first host
	// address of each. Prefix6 is the zero Prefix in a tunnel without IPv6.
	Prefix4, Prefix6 netip.Prefix
}

// Home is an enrolled home.
type Home struct {
	Name       string
	PublicKey  key.Public
	Address4   netip.Addr
	Address6   netip.Addr // zero in a tunnel without IPv6
	Enrolled   time.Time
	Generation uint64 // of the last accepted push; see forward.Succeeds
	// Forwards is the last accepted push in its own order, the refused ones
	// included, so that a change of policy can grant them later.
	Forwards     []Forward
	LastEndpoint netip.AddrPort // where it was last seen, for the next start
}

// Has reports whether addr is one of the home's addresses in the tunnel.
func (h Home) Has(addr netip.Addr) bool {
	return addr.IsValid() && (addr == h.Address4 || addr == h.Address6)
}

// Wanted returns what the home asked for.
func (h Home) Wanted() []forward.Published {
	wanted := make([]forward.Published, len(h.Forwards))
	for i, f := range h.Forwards {
		wanted[i] = f.Wanted
	}
	return wanted
}

// Verdicts returns the answer to each forward, in the order of the push.
func (h Home) Verdicts() []Verdict {
	verdicts := make([]Verdict, len(h.Forwards))
	for i, f := range h.Forwards {
		verdicts[i] = Verdict{Name: f.Wanted.Name, Granted: f.Granted, Reason: f.Why(), Notes: slices.Clone(f.Notes)}
	}
	return verdicts
}

// Forward is a forward that a home asked for, and the gate's answer.
type Forward struct {
	// ID stays with the forward for as long as its home pushes one of that
	// name. It is 0 until the forward is granted for the first time.
	ID       uint32
	Wanted   forward.Published
	Granted  bool
	Families forward.Families // in which visitors are let through, if any are
	Reason   string           // why it was refused
	Notes    []string         // what the owner should know although it was granted
	// Kept are those of the ports that stay published of a forward that is refused:
	// they were before its home asked for more.
	Kept []forward.Ports `json:",omitempty"`
}

// InForce returns what is published of the forward; false: nothing.
func (f Forward) InForce() (forward.Published, bool) {
	p := f.Wanted
	if !f.Granted {
		p.Ports = f.Kept
	}
	return p, f.Granted || len(f.Kept) > 0
}

// Why says why the forward is refused, and what stays of it.
func (f Forward) Why() string {
	if f.Granted || len(f.Kept) == 0 {
		return f.Reason
	}
	return fmt.Sprintf("%s; %s stays as it was (%s)", f.Reason, f.Wanted.Name, list(f.Kept))
}

// Verdict is the gate's answer to one forward.
type Verdict struct {
	Name    string
	Granted bool
	Reason  string
	Notes   []string
}

// Invite is an invite that may still be used, or that was used so recently
// that the home may not have heard the answer.
type Invite struct {
	Name       string
	Hash       key.SecretHash
	PublicKey  key.Public // of the one-time key
	Address4   netip.Addr // goes with the one-time key
	Created    time.Time
	Expires    time.Time
	RedeemedBy key.Public // zero: by nobody yet
	RedeemedAt time.Time
	// Lived is how much of its life the invite had had by the time Seen: until
	// it was redeemed, of its time to wait, and then of the time of grace.
	Lived time.Duration `json:",omitzero"`
	Seen  time.Time     `json:",omitzero"` // zero in a State of an older version
	// Ended is when it was seen to have ended, which it stays whatever the clock
	// says later; zero: not yet.
	Ended time.Time `json:",omitzero"`
}

// Redeemed reports whether the invite has been used.
func (v Invite) Redeemed() bool { return !v.RedeemedBy.IsZero() }

// Clone returns a copy that shares nothing with s that either may change.
func (s *State) Clone() *State {
	c := *s
	c.Invites = slices.Clone(s.Invites)
	c.Homes = slices.Clone(s.Homes)
	c.Former = slices.Clone(s.Former)
	for i := range c.Homes {
		c.Homes[i].Forwards = slices.Clone(c.Homes[i].Forwards)
		for j := range c.Homes[i].Forwards {
			f := &c.Homes[i].Forwards[j]
			f.Wanted.Ports = slices.Clone(f.Wanted.Ports)
			f.Wanted.Allow = slices.Clone(f.Wanted.Allow)
			f.Notes = slices.Clone(f.Notes)
			f.Kept = slices.Clone(f.Kept)
		}
	}
	return &c
}

// HomeByName finds an enrolled home.
func (s *State) HomeByName(name string) (Home, bool) {
	return find(s.Homes, func(h Home) bool { return h.Name == name })
}

// HomeByAddress finds the home that sends from addr in the tunnel.
func (s *State) HomeByAddress(addr netip.Addr) (Home, bool) {
	return find(s.Homes, func(h Home) bool { return h.Has(addr) })
}

// InviteByAddress finds the invite whose one-time key goes with addr.
func (s *State) InviteByAddress(addr netip.Addr) (Invite, bool) {
	return find(s.Invites, func(v Invite) bool { return addr.IsValid() && v.Address4 == addr })
}

// SetEndpoint remembers where a home was last seen and reports whether that
// is news.
func (s *State) SetEndpoint(home string, endpoint netip.AddrPort) bool {
	i := s.homeIndex(home)
	if i < 0 || s.Homes[i].LastEndpoint == endpoint {
		return false
	}
	s.Homes[i].LastEndpoint = endpoint
	return true
}

func (s *State) homeIndex(name string) int {
	return slices.IndexFunc(s.Homes, func(h Home) bool { return h.Name == name })
}

func (s *State) inviteIndex(name string) int {
	return slices.IndexFunc(s.Invites, func(v Invite) bool { return v.Name == name })
}

func find[T any](all []T, is func(T) bool) (T, bool) {
	if i := slices.IndexFunc(all, is); i >= 0 {
		return all[i], true
	}
	var none T
	return none, false
}
