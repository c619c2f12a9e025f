package registry

import (
	"net/netip"
	"slices"
	"time"

	"github.com/gatelodge/gatelodge/internal/key"
)

// Former is a home that was revoked. It may go on calling, and its gate then knows
// who that is.
type Former struct {
	Name      string
	PublicKey key.Public
	Endpoint  netip.AddrPort // where it was last seen
	Revoked   time.Time
}

// The bounds of what a gate remembers of homes that it has revoked.
const (
	MaxFormer  = 256
	FormerTime = 7 * 24 * time.Hour
)

// Remember keeps in mind that a home was revoked. Of too many the oldest is
// forgotten.
func Remember(s *State, h Home, now time.Time) {
	if h.PublicKey.IsZero() {
		return
	}
	forgive(s, h)
	s.Former = append(s.Former, Former{h.Name, h.PublicKey, h.LastEndpoint, stamp(now)})
	s.Former = s.Former[max(0, len(s.Former)-MaxFormer):]
}

// forgive forgets that a home was revoked that has come in again.
func forgive(s *State, h Home) {
	s.Former = slices.DeleteFunc(slices.Clone(s.Former), func(f Former) bool { return f.Name == h.Name || f.PublicKey == h.PublicKey })
}

// forgetFormer forgets whom time has forgotten, and reports whether there was one.
func forgetFormer(s *State, now time.Time) bool {
	kept := slices.DeleteFunc(slices.Clone(s.Former), func(f Former) bool { return now.Sub(f.Revoked) > FormerTime })
	changed := len(kept) != len(s.Former)
	s.Former = kept
	return changed
}
