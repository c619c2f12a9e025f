package state

import (
	"fmt"
	"slices"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/registry"
)

// Acceptable refuses a configuration that the next start would refuse, in the
// same words, or under which this gate's homes would no longer find it.
func (s State) Acceptable(c config.Gate, facts plan.Facts) error {
	if err := plan.SameInstance(s.Config.Tunnel.Interface, c.Tunnel.Interface); err != nil {
		return err
	}
	if err := s.Registry.Check(identity(s.Key, c)); err != nil {
		return err
	}
	if err := s.RefuseOverlap(c, facts); err != nil {
		return err
	}
	return s.sameForHomes(c)
}

// sameForHomes keeps what homes have been told when they joined, and what the
// invites that are out say.
func (s State) sameForHomes(c config.Gate) error {
	if len(s.Registry.Homes)+len(s.Registry.Invites) == 0 {
		return nil
	}
	was, is := plan.GateAddresses(s.Config), plan.GateAddresses(c)
	file := s.File
	if was[0] != is[0] {
		return refusedMove(file, "prefix4", fmt.Sprintf("the gate's address in the tunnel would become %s, and its homes know it as %s", is[0], was[0]), s.Registry)
	}
	if was, is := s.Config.Tunnel.ControlPort, c.Tunnel.ControlPort; was != is {
		return refusedMove(file, "control_port", fmt.Sprintf("the control channel would be at port %d, and this gate's homes know it at %d", is, was), s.Registry)
	}
	return nil
}

func refusedMove(file, key, what string, r *registry.State) error {
	var names []string
	for _, h := range r.Homes {
		names = append(names, h.Name)
	}
	for _, v := range r.Invites {
		if !slices.Contains(names, v.Name) {
			names = append(names, v.Name)
		}
	}
	return &local.RefusedError{
		Message: fmt.Sprintf("%s: this would cut off %d of the homes and invites", what, len(names)),
		Hint:    fmt.Sprintf("restore the former %s in %s, or revoke them first (gatelodge gate revoke NAME) and invite them again", key, file),
	}
}
