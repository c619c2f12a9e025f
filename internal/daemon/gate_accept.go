package daemon

import (
	"fmt"
	"slices"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/registry"
)

// acceptable refuses a configuration that the next start would refuse, in the
// same words, or under which this gate's homes would not find it any more. The
// caller holds mu.
func (g *gate) acceptable(c config.Gate, facts plan.Facts) error {
	if err := sameInstance(g.config.Tunnel.Interface, c.Tunnel.Interface); err != nil {
		return err
	}
	if err := g.registry.Check(identity(g.key, c)); err != nil {
		return err
	}
	if err := g.refuseOverlap(c, facts); err != nil {
		return err
	}
	return g.sameForHomes(c)
}

// sameForHomes keeps what homes have been told when they joined, and what the
// invites that are out say.
func (g *gate) sameForHomes(c config.Gate) error {
	if len(g.registry.Homes)+len(g.registry.Invites) == 0 {
		return nil
	}
	was, is := plan.GateAddresses(g.config), plan.GateAddresses(c)
	file := g.opts.Paths.ConfigFile(plan.Gate)
	if was[0] != is[0] {
		return refusedMove(file, "prefix4", fmt.Sprintf("the gate's address in the tunnel would become %s, and its homes know it as %s", is[0], was[0]), g.registry)
	}
	if was, is := g.config.Tunnel.ControlPort, c.Tunnel.ControlPort; was != is {
		return refusedMove(file, "control_port", fmt.Sprintf("the control channel would be at port %d, and this gate's homes know it at %d", is, was), g.registry)
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
	return &RefusedError{
		Message: fmt.Sprintf("%s: %d homes and invites would be cut off", what, len(names)),
		Hint:    fmt.Sprintf("put the former %s back into %s, or revoke them first (gatelodge gate revoke NAME) and invite them again", key, file),
	}
}
