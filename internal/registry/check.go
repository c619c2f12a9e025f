package registry

import (
	"net/netip"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/key"
)

// Check reports what makes a stored state unusable at this gate. A state that
// passes keeps its promises: no port, address, key or ID has two owners.
func (s *State) Check(g Gate) error {
	if err := g.check(); err != nil {
		return err
	}
	if s.Version != Version {
		return refuse(NewerState, "the gate's state has version %d, this gatelodge knows version %d; install the version that wrote it", s.Version, Version)
	}
	c := checker{
		gate:      g,
		names:     make(map[string]bool),
		keys:      map[key.Public]bool{{}: true, g.PublicKey: true},
		addresses: map[netip.Addr]bool{g.Address4(): true, g.Address6(): true},
		ids:       make(map[uint32]bool),
		ports:     s.judge(),
	}
	for i := range s.Homes {
		if err := c.home(&s.Homes[i]); err != nil {
			return err
		}
	}
	for _, v := range s.Invites {
		if err := c.invite(v); err != nil {
			return err
		}
	}
	return nil
}

type checker struct {
	gate      Gate
	names     map[string]bool
	keys      map[key.Public]bool
	addresses map[netip.Addr]bool
	ids       map[uint32]bool
	ports     *judge
}

func (c *checker) home(h *Home) error {
	if err := forward.CheckName(h.Name); err != nil || !claim(c.names, h.Name) {
		return broken("the name %.60q of a home", h.Name)
	}
	if !claim(c.keys, h.PublicKey) {
		return broken("the public key of %q", h.Name)
	}
	if err := c.address(h.Name, h.Address4, c.gate.Prefix4); err != nil {
		return err
	}
	if c.gate.Prefix6.IsValid() || h.Address6.IsValid() {
		if err := c.address(h.Name, h.Address6, c.gate.Prefix6); err != nil {
			return err
		}
	}
	return c.forwards(h)
}

func (c *checker) forwards(h *Home) error {
	if forward.CheckCount(len(h.Forwards)) != nil {
		return broken("the number of forwards of %q", h.Name)
	}
	for _, f := range h.Forwards {
		if f.ID > forward.MaxID || f.ID != 0 && !claim(c.ids, f.ID) {
			return broken("the ID of forward %.60q of %q", f.Wanted.Name, h.Name)
		}
		p, is := f.InForce()
		if !is {
			continue
		}
		if f.ID == 0 || f.Families == (forward.Families{}) || malformed(p) != "" || len(forward.PortSet(p.Ports).Without(f.Wanted.Ports)) > 0 ||
			c.ports.conflict(owner{home: h.Name}, p.Ports) != "" {
			return broken("the forward %.60q of %q", f.Wanted.Name, h.Name)
		}
		c.ports.occupy(owner{h.Name, p.Name}, p.Ports)
	}
	return nil
}

func (c *checker) invite(v Invite) error {
	if err := forward.CheckName(v.Name); err != nil || v.Redeemed() != c.names[v.Name] {
		return broken("the name %.60q of an invite", v.Name)
	}
	if !v.Redeemed() {
		c.names[v.Name] = true
	}
	if !claim(c.keys, v.PublicKey) {
		return broken("the public key of the invite for %q", v.Name)
	}
	return c.address(v.Name, v.Address4, c.gate.Prefix4)
}

func (c *checker) address(name string, addr netip.Addr, prefix netip.Prefix) error {
	if !prefix.Contains(addr) {
		return refuse(OutsideTunnel, "%q has the address %v, which is not in the tunnel's prefix %v; restore the former prefix4 in gate.toml, or revoke %q and invite it again", name, addr, prefix, name)
	}
	if !claim(c.addresses, addr) {
		return broken("the address of %q", name)
	}
	return nil
}

// claim takes a thing for its first owner and reports whether it was free.
func claim[T comparable](taken map[T]bool, thing T) bool {
	if taken[thing] {
		return false
	}
	taken[thing] = true
	return true
}

func broken(what string, args ...any) error {
	return refuse(BadState, "the gate's state contradicts itself: "+what+" is invalid or taken twice; restore the state from a backup, or revoke that home", args...)
}
