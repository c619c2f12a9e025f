package registry

import (
	"net/netip"
	"slices"
	"time"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/key"
)

// The bounds of an invite's life.
const (
	MinTTL = time.Minute
	MaxTTL = 30 * 24 * time.Hour
	// Grace is how long a home whose answer was lost can ask again with a used
	// invite, and how long a home that comes with an expired one is told so.
	// After that its key is no longer a peer of the gate.
	Grace = 10 * time.Minute
	// Memory is how long a used or expired invite is remembered.
	Memory = 7 * 24 * time.Hour
)

// Invite lets one home in under the given name until now+ttl. The caller
// makes the secret (key.NewSecret) and builds the invite's text from it and
// from the address returned here.
func (s *State) Invite(g Gate, name string, secret key.Secret, now time.Time, ttl time.Duration) (Invite, error) {
	if err := s.checkInvite(g, name, now, ttl); err != nil {
		return Invite{}, err
	}
	v := Invite{
		Name:      name,
		Hash:      secret.Hash(),
		PublicKey: secret.Key().Public(),
		Created:   stamp(now),
		Expires:   stamp(now.Add(ttl)),
		Seen:      now,
	}
	if keyTaken(s, g, v.PublicKey) {
		return Invite{}, refuse(BadKey, "this invite's secret has been used before; make a new one")
	}
	kept := slices.DeleteFunc(slices.Clone(s.Invites), func(v Invite) bool { return v.Name == name || !v.remembered(now) })
	var err error
	if v.Address4, err = (&State{Homes: s.Homes, Invites: kept}).freeInvite(g); err != nil {
		// The past must not stand in the way of the living.
		kept = slices.DeleteFunc(kept, func(v Invite) bool { return !v.live(now) })
		if v.Address4, err = (&State{Homes: s.Homes, Invites: kept}).freeInvite(g); err != nil {
			return Invite{}, err
		}
	}
	s.Invites = append(kept, v)
	return v, nil
}

func (s *State) checkInvite(g Gate, name string, now time.Time, ttl time.Duration) error {
	if err := g.check(); err != nil {
		return err
	}
	if err := forward.CheckName(name); err != nil {
		return refuse(BadName, "cannot invite: %v", err)
	}
	if ttl < MinTTL || ttl > MaxTTL {
		return refuse(BadDuration, "an invite cannot be valid for %v; choose from 1 minute to 30 days", ttl)
	}
	if s.homeIndex(name) >= 0 {
		return refuse(NameTaken, "a home named %q is enrolled; choose another name, or remove that home first: gatelodge gate revoke %s", name, name)
	}
	if i := s.inviteIndex(name); i >= 0 && s.Invites[i].live(now) {
		return refuse(NameTaken, "%q has been invited already, until %s; to make a new invite, revoke that one first: gatelodge gate revoke %s",
			name, s.Invites[i].Expires.Format(time.RFC3339), name)
	}
	return nil
}

// Redeem enrols the home with the public key newKey in exchange for the
// secret of an invite. The address from is that of the one-time peer, which
// WireGuard vouches for. The first key wins; the same key may ask again
// within Grace and gets the same answer.
func (s *State) Redeem(g Gate, secret key.Secret, from netip.Addr, newKey key.Public, now time.Time) (Home, error) {
	v := s.inviteBySecret(secret)
	if v == nil {
		return Home{}, refuse(UnknownInvite, "the gate does not know this invite; ask its owner for a new one (gatelodge gate invite)")
	}
	if v.Redeemed() {
		return s.redeemAgain(*v, from, newKey, now)
	}
	switch {
	case from != v.Address4:
		return Home{}, wrongPeer()
	case !v.live(now):
		return Home{}, refuse(ExpiredInvite, "the invite expired on %s; ask the gate's owner for a new one (gatelodge gate invite %s)", v.Expires.Format(time.RFC3339), v.Name)
	case newKey.IsZero() || keyTaken(s, g, newKey):
		return Home{}, refuse(BadKey, "the public key %s is in use at this gate or is no key; make a new one and try again", newKey.Short())
	}
	return s.enrol(g, v, newKey, now)
}

// enrol is the one step from invite to home. Both sides of it are in the same
// State, and so in the same write.
func (s *State) enrol(g Gate, v *Invite, newKey key.Public, now time.Time) (Home, error) {
	if err := g.check(); err != nil {
		return Home{}, err
	}
	addr4, addr6, err := s.freeHome(g)
	if err != nil {
		return Home{}, err
	}
	h := Home{Name: v.Name, PublicKey: newKey, Address4: addr4, Address6: addr6, Enrolled: stamp(now)}
	v.RedeemedBy, v.RedeemedAt = newKey, stamp(now)
	v.Lived, v.Seen = 0, now
	s.Homes = append(s.Homes, h)
	forgive(s, h)
	return h, nil
}

// redeemAgain answers a home that did not hear the first answer. By then the
// gate may already know it under its new address.
func (s *State) redeemAgain(v Invite, from netip.Addr, newKey key.Public, now time.Time) (Home, error) {
	h, enrolled := s.HomeByName(v.Name)
	if !enrolled || h.PublicKey != newKey || !v.live(now) {
		return Home{}, refuse(UsedInvite, "the invite has been used already, on %s; if that was not you, tell the gate's owner (gatelodge gate revoke %s)",
			v.RedeemedAt.Format(time.RFC3339), v.Name)
	}
	if from != v.Address4 && !h.Has(from) {
		return Home{}, wrongPeer()
	}
	return h, nil
}

func wrongPeer() error {
	return refuse(WrongPeer, "the invite did not come through the tunnel that belongs to it; run gatelodge join with the whole invite again")
}

// inviteBySecret compares with every invite, in constant time each, so that
// the time taken says nothing about which one was nearly right.
func (s *State) inviteBySecret(secret key.Secret) *Invite {
	var found *Invite
	for i := range s.Invites {
		if s.Invites[i].Hash.Matches(secret) {
			found = &s.Invites[i]
		}
	}
	return found
}

// keyTaken reports whether a public key belongs to somebody: two peers with
// one key would be one peer to WireGuard, with the addresses of both.
func keyTaken(s *State, g Gate, k key.Public) bool {
	return k == g.PublicKey || s.HasKey(k)
}

// KeysOf returns the public keys that belong to the home or the invite of that
// name: those that Revoke takes.
func (s *State) KeysOf(name string) ([]key.Public, error) {
	var keys []key.Public
	if i := s.homeIndex(name); i >= 0 {
		keys = append(keys, s.Homes[i].PublicKey)
	}
	if i := s.inviteIndex(name); i >= 0 {
		keys = append(keys, s.Invites[i].PublicKey)
	}
	if len(keys) == 0 {
		return nil, unknownName(name)
	}
	return keys, nil
}

// HasKey reports whether a public key belongs to a home or an invite.
func (s *State) HasKey(k key.Public) bool {
	return slices.ContainsFunc(s.Homes, func(h Home) bool { return h.PublicKey == k }) ||
		slices.ContainsFunc(s.Invites, func(v Invite) bool { return v.PublicKey == k })
}

func unknownName(name string) error {
	return refuse(UnknownHome, "no home and no invite is named %q; gatelodge gate homes lists them", name)
}

// Revoked says what Revoke removed.
type Revoked struct {
	Home   bool
	Invite bool // one that had not been used
}

// Revoke removes the home or the invite of that name, with all it was
// granted.
func (s *State) Revoke(name string) (Revoked, error) {
	home, invite := s.homeIndex(name), s.inviteIndex(name)
	if home < 0 && invite < 0 {
		return Revoked{}, unknownName(name)
	}
	what := Revoked{Home: home >= 0, Invite: invite >= 0 && !s.Invites[invite].Redeemed()}
	s.Homes = slices.DeleteFunc(s.Homes, func(h Home) bool { return h.Name == name })
	s.Invites = slices.DeleteFunc(s.Invites, func(v Invite) bool { return v.Name == name })
	return what, nil
}

// stamp is a time as it comes back from a file: in UTC and without the
// monotonic reading.
func stamp(t time.Time) time.Time { return t.UTC().Round(0) }
