package host

import (
	"net/netip"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host/firewall"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// flows are the connections that conntrack(8) knows.
type flows struct{}

// CutForwards ends the connections of forwards that no longer exist. Those of the
// living ones go on.
func (flows) CutForwards(m plan.Marks, gone, living []uint32) error {
	return firewall.DeleteForwards(m, gone, living)
}

// ForwardChange is a forward that stays and is another than before.
type ForwardChange = firewall.Change

// TrimForwards ends the connections of changed forwards that they no longer
// carry. Those that they do carry go on.
func (flows) TrimForwards(m plan.Marks, changes []ForwardChange) error {
	return firewall.DeleteNotCarried(m, changes)
}

// FreeFlows ends flows to ports that have just been forwarded: a sender that
// never pauses would otherwise stay on the way it had before.
func (flows) FreeFlows(m plan.Marks, ports forward.PortSet, public []netip.Addr) error {
	return firewall.DeleteUnforwarded(m, ports, public)
}

// EndVisits ends the connections by which visitors came to a home's addresses,
// where what is published now is not as it was before.
func (flows) EndVisits(own []netip.Addr, before, now []plan.HomeForward) error {
	return firewall.DeleteVisits(own, before, now)
}
