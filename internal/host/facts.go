package host

import (
	"context"
	"net/netip"
	"os"

	"github.com/gatelodge/gatelodge/internal/host/routing"
	"github.com/gatelodge/gatelodge/internal/host/sockets"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// Facts gathers what planning needs to know of this machine, the tunnel left
// out. See Look for sshConnection.
func Facts(ctx context.Context, rt *routing.Routing, tunnel, sshConnection string) (plan.Facts, error) {
	facts, err := rt.Facts(ctx, tunnel)
	if err != nil {
		return plan.Facts{}, err
	}
	if facts.Own, err = routing.Addresses(); err != nil {
		return plan.Facts{}, err
	}
	facts.SSHPorts, err = sockets.SSHPorts(sshConnection)
	return facts, err
}

// Facts gathers what planning needs to know of this machine now.
func (h *Host) Facts(ctx context.Context, tunnel string) (plan.Facts, error) {
	facts, err := Facts(ctx, h.routing, tunnel, "")
	facts.User = uint32(os.Geteuid())
	// What we have added ourselves is not the owner's.
	for _, e := range h.journal.Entries() {
		if e.Kind == sysctlKind && e.Name == plan.LocalReserved {
			facts.LocalPorts.Reserved = e.Previous
		}
	}
	return facts, err
}

// MTUTo returns the MTU of the route to addr in bytes, for packets with the
// given mark. An error means that there is no route.
func (h *Host) MTUTo(ctx context.Context, addr netip.Addr, mark uint32) (int, error) {
	return h.routing.MTUTo(ctx, addr, mark)
}

// Watch reports that something about this machine's network may have changed,
// by anybody.
func (h *Host) Watch(ctx context.Context) (<-chan routing.Event, error) {
	return routing.Watch(ctx)
}
