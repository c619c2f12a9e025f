package host

import (
	"context"
	"net/netip"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// Machine is this machine as far as it is ours: what a gate and a home do with it.
// Host is the real one, and hosttest has one that stands in memory.
type Machine interface {
	Shape
	Network
	Device
	Flows
	Sight
}

// Shape is what the machine is, and what it is to be.
type Shape interface {
	// Facts gathers what planning needs to know, with the tunnel's interface left
	// out.
	Facts(ctx context.Context, tunnel string) (plan.Facts, error)
	// Observe returns what the machine has of the wanted state.
	Observe(ctx context.Context, want plan.State) (plan.Observed, error)
	// Diff returns what lies between the machine and the wanted state.
	Diff(ctx context.Context, want plan.State) ([]plan.Step, error)
	// Apply brings the machine to the wanted state and returns what it changed.
	Apply(ctx context.Context, want plan.State) ([]plan.Step, error)
	// Glance returns what the device and its interface say of themselves: the
	// cheap part of Observe.
	Glance(ctx context.Context, want plan.State) (plan.Observed, error)
}

// Network is what leads to this machine and away from it.
type Network interface {
	// MTUTo returns the MTU of the route to addr, in bytes, for packets with the
	// given mark. An error means that there is no route.
	MTUTo(ctx context.Context, addr netip.Addr, mark uint32) (int, error)
	// Watch reports that something about the machine's network may have changed,
	// by anybody.
	Watch(ctx context.Context) (<-chan Event, error)
	// Led returns where others on this machine lead what forwards lead to.
	Led(forwards []forward.Forward, facts plan.Facts, tunnel string) ([]plan.Led, error)
}

// Device is the WireGuard device.
type Device interface {
	// Kind says which WireGuard runs it, and why it is not the kernel's; "" if it
	// is.
	Kind() (kind plan.Kind, why string)
	// Peers returns the peers as the device sees them.
	Peers(ctx context.Context) ([]plan.ObservedPeer, error)
	// Renew takes peers from the device and adds them again; Redial has it call
	// from another port as well, and at the endpoints that are wanted.
	Renew(ctx context.Context, want plan.State, peers []key.Public) error
	Redial(ctx context.Context, want plan.State) error
	// Drop takes peers from the device, at once and whatever else is under way.
	Drop(ctx context.Context, keys []key.Public) error
}

// Flows are the connections that conntrack knows.
type Flows interface {
	// CutForwards ends the connections of forwards that no longer exist.
	CutForwards(m plan.Marks, gone, living []uint32) error
	// TrimForwards ends those of changed forwards that they no longer carry.
	TrimForwards(m plan.Marks, changes []ForwardChange) error
	// FreeFlows ends flows to ports that have just been forwarded.
	FreeFlows(m plan.Marks, ports forward.PortSet, public []netip.Addr) error
	// EndVisits ends the visits to a home that are no longer published as before.
	EndVisits(own []netip.Addr, before, now []plan.HomeForward) error
}

// Sight is what else is to be seen on the machine.
type Sight interface {
	// Counters returns what our table has counted.
	Counters(ctx context.Context, table string) (Counters, error)
	// Sessions returns the established connections to ports of this machine.
	Sessions(ports []uint16) ([]Session, error)
	// RootPorts returns the TCP ports on which programs of root listen, and
	// SSHPorts those of its sshd.
	RootPorts() ([]uint16, error)
	SSHPorts() ([]uint16, error)
}

var _ Machine = (*Host)(nil)

// Kind implements Machine.
func (h *Host) Kind() (kind plan.Kind, why string) { return h.device.Kind(), h.why }

// Glance implements Machine.
func (h *Host) Glance(ctx context.Context, want plan.State) (plan.Observed, error) {
	wg, err := h.device.Observe(ctx)
	if err != nil {
		return plan.Observed{}, err
	}
	rt, err := h.routing.Observe(ctx, want.Routing)
	return plan.Observed{WireGuard: wg, Routing: rt}, err
}

// Led implements Machine.
func (sight) Led(forwards []forward.Forward, facts plan.Facts, tunnel string) ([]plan.Led, error) {
	return Led(forwards, facts, tunnel)
}
