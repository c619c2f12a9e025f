// Package host carries a wanted state out on this machine: it observes,
// compares, applies the difference step by step, checks, and reverts everything.
// It composes the three rooms below it, which do not know each other.
package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"

	"github.com/gatelodge/gatelodge/internal/host/firewall"
	"github.com/gatelodge/gatelodge/internal/host/routing"
	"github.com/gatelodge/gatelodge/internal/host/wireguard"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/step"
	"github.com/gatelodge/gatelodge/internal/store"
)

// The journal's words for kernel settings, and for routing tables that this
// instance has used.
const (
	sysctlKind = "sysctl"
	tableKind  = "table"
)

// Options say which instance of Gatelodge on this machine a Host is.
type Options struct {
	Interface string // of the tunnel; also the name of the table
	Device    string // "auto", "kernel" or "embedded"
	Journal   *store.Journal
	// TUN and KeepTUN hand the embedded device's TUN interface from one process
	// to the next: the file that the service manager has kept, nil if there is
	// none, and a function that has it keep another, nil if there is nobody to.
	// The host closes TUN unless Open fails. KeepTUN must neither close its
	// file nor call its Fd method.
	TUN     *os.File
	KeepTUN func(*os.File) error
	// Guard and KeepGuard do the same for the socket that the firewall's guard
	// belongs to.
	Guard     *os.File
	KeepGuard func(*os.File) error
	// LookOnly is for a host that is only looked at: not even a device is tried.
	LookOnly bool
	Log      *slog.Logger
}

// Host is this machine, as far as it is ours.
type Host struct {
	flows
	sight
	notes    notes
	firewall *firewall.Firewall
	guard    *firewall.Guard
	routing  *routing.Routing
	device   wireguard.Device
	why      string
	journal  *store.Journal
	log      *slog.Logger
	last     *plan.State // what was last applied whole
	peers    peers
}

// Open finds the means to change this machine, and changes nothing yet.
func Open(ctx context.Context, o Options) (*Host, error) {
	fw, err := firewall.Open()
	if err != nil {
		return nil, err
	}
	rt, err := routing.Open()
	if err != nil {
		return nil, err
	}
	rt.Remember(tablesIn(o.Journal.Entries())...)
	device, why, err := wireguard.Open(ctx, wireguard.Options{
		Interface: o.Interface,
		Choice:    wireguard.Choice(o.Device),
		TUN:       o.TUN,
		KeepTUN:   o.KeepTUN,
		LookOnly:  o.LookOnly,
		Log:       o.Log,
	})
	if err != nil {
		return nil, err
	}
	guard := firewall.OpenGuard(firewall.GuardOptions{Kept: o.Guard, Keep: o.KeepGuard, Log: o.Log})
	return &Host{firewall: fw, guard: guard, routing: rt, notes: notes{o.Journal, rt}, device: device, why: why, journal: o.Journal, log: o.Log}, nil
}

// Close lets go of the machine and leaves standing what was applied, but for
// the guard, which goes with the process unless somebody keeps its socket.
func (h *Host) Close() error { return errors.Join(h.device.Close(), h.guard.Close()) }

// Observe returns what the machine has of the wanted state.
func (h *Host) Observe(ctx context.Context, want plan.State) (plan.Observed, error) {
	wg, err := h.device.Observe(ctx)
	if err != nil {
		return plan.Observed{}, fmt.Errorf("cannot look at the WireGuard device: %w", err)
	}
	rt, err := h.routing.Observe(ctx, want.Routing)
	if err != nil {
		return plan.Observed{}, fmt.Errorf("cannot look at addresses, routes and rules: %w", err)
	}
	fw, err := h.firewall.Observe(ctx, want.Firewall)
	if err != nil {
		return plan.Observed{}, fmt.Errorf("cannot look at the nftables table: %w", err)
	}
	if fw.Guard, err = h.guard.Drift(want.Firewall); err != nil {
		return plan.Observed{}, err
	}
	return plan.Observed{WireGuard: wg, Routing: rt, Firewall: fw}, nil
}

// Diff returns what lies between the machine and the wanted state.
func (h *Host) Diff(ctx context.Context, want plan.State) ([]plan.Step, error) {
	observed, err := h.Observe(ctx, want)
	if err != nil {
		return nil, err
	}
	return h.diff(observed, want), nil
}

// Apply brings the machine to the wanted state and returns what it changed:
// nothing, where nothing differs. If a step fails, the machine is brought back
// to the state that was last applied, or to where nothing of ours stands. What
// an earlier process has left standing is not taken down for that: it may be
// serving visitors, and closing ports.
func (h *Host) Apply(ctx context.Context, want plan.State) ([]plan.Step, error) {
	found, err := h.Observe(ctx, want)
	if err != nil {
		return nil, err
	}
	changes := h.diff(found, want)
	if len(changes) == 0 {
		return nil, nil
	}
	if err := h.routing.CheckSysctls(changes); err != nil {
		return nil, err
	}
	if err := h.notes.tables(want.Routing); err != nil {
		return nil, err
	}
	stood := found.Firewall.Present || found.Routing.LinkPresent
	if made, err := h.carryOut(ctx, changes, want); err != nil {
		return nil, errors.Join(err, h.goBack(context.WithoutCancel(ctx), made, want, stood))
	}
	left, err := h.Diff(ctx, want)
	if err != nil {
		return changes, err
	}
	if len(left) > 0 {
		return changes, fmt.Errorf("the change was made, but the machine is not as wanted: %v", left)
	}
	h.last = &want
	return changes, nil
}

// carryOut makes the changes one by one, and returns those that it has made.
func (h *Host) carryOut(ctx context.Context, changes []plan.Step, want plan.State) ([]plan.Step, error) {
	for i, c := range changes {
		step.At("host: before", c)
		if err := h.step(ctx, c, want); err != nil {
			return changes[:i], fmt.Errorf("cannot %s: %w", c, err)
		}
		step.At("host: after", c)
	}
	return changes, nil
}

// step makes one change.
func (h *Host) step(ctx context.Context, c plan.Step, want plan.State) error {
	switch c := c.(type) {
	case plan.LoadFirewall:
		return h.firewall.Apply(ctx, want.Firewall)
	case plan.RaiseGuard:
		return h.guard.Raise(want.Firewall)
	case plan.ConfigureWireGuard:
		return h.peers.apply(ctx, h.device, want.WireGuard)
	case plan.SetLink:
		return h.setLink(ctx, c)
	case plan.AddAddress:
		return h.routing.AddAddress(ctx, c.Interface, c.Address)
	case plan.DeleteAddress:
		return h.routing.DeleteAddress(ctx, c.Interface, c.Address)
	case plan.AddRoute:
		return h.routing.ReplaceRoute(ctx, c.Route)
	case plan.DeleteRoute:
		return h.routing.DeleteRoute(ctx, c.Route)
	case plan.AddRule:
		return h.routing.AddRule(ctx, c.Rule)
	case plan.DeleteRule:
		return h.routing.DeleteRule(ctx, c.Rule)
	case plan.SetSysctl:
		return h.notes.set(ctx, c, want.Routing.Interface)
	default:
		return fmt.Errorf("unknown change %T", c)
	}
}

// setLink brings the interface up. With the kernel's WireGuard that changes a
// setting of the whole machine: wg_open in drivers/net/wireguard/device.c of
// Linux switches the sending of redirects off.
func (h *Host) setLink(ctx context.Context, c plan.SetLink) error {
	if h.device.Kind() == plan.Kernel {
		if err := h.notes.values("net.ipv4.conf.all.send_redirects"); err != nil {
			return err
		}
	}
	return h.routing.SetLink(ctx, c.Interface, c.MTU)
}

// tablesIn returns the routing tables that entries of a journal name.
func tablesIn(entries []store.Entry) []int {
	var tables []int
	for _, e := range entries {
		if table, err := strconv.Atoi(e.Name); e.Kind == tableKind && err == nil {
			tables = append(tables, table)
		}
	}
	return tables
}

// goBack undoes a change that failed half way. If something of ours stood, and
// this process cannot tell what it was to be, the steps made so far stay: each
// leads from there to what is wanted, and the next try goes on.
func (h *Host) goBack(ctx context.Context, made []plan.Step, failed plan.State, stood bool) error {
	if h.last == nil && stood {
		h.log.Warn("leaving what stood before, and what was set up so far")
		return nil
	}
	err := h.notes.restore(ctx, made, failed.Routing.Interface)
	if h.last == nil {
		h.log.Warn("undoing what was set up so far")
		return errors.Join(err, h.remove(ctx, failed.Routing.Interface))
	}
	h.log.Warn("going back to the state before")
	changes, diffErr := h.Diff(ctx, *h.last)
	if diffErr != nil {
		return errors.Join(err, fmt.Errorf("cannot go back: %w", diffErr))
	}
	if _, stepErr := h.carryOut(ctx, changes, *h.last); stepErr != nil {
		return errors.Join(err, fmt.Errorf("cannot go back: %w", stepErr))
	}
	return err
}

// Redial takes the wanted endpoints over those that the device has learned,
// and starts again from another port: past a router that has lost or confused
// its mapping of the old one.
func (h *Host) Redial(ctx context.Context, want plan.State) error {
	if err := h.peers.apply(ctx, h.device, want.WireGuard); err != nil {
		return err
	}
	return h.device.Rebind(ctx)
}

// Renew takes these peers from the WireGuard device and adds them again. It is
// the remedy for a peer whose clock went back: its handshakes look like old
// ones that somebody repeats, until the device forgets the later time. A
// learned endpoint stays; the peer's counters begin at zero.
func (h *Host) Renew(ctx context.Context, want plan.State, peers []key.Public) error {
	return h.peers.renew(ctx, h.device, want.WireGuard, peers)
}

// Peers returns the peers as the WireGuard device sees them.
func (h *Host) Peers(ctx context.Context) ([]plan.ObservedPeer, error) {
	observed, err := h.device.Observe(ctx)
	return observed.Peers, err
}

// Counters is what the firewall has counted.
type Counters = firewall.Counters

// Event is a change of this machine's network.
type Event = routing.Event

// Counters returns what the firewall has counted.
func (h *Host) Counters(ctx context.Context, table string) (Counters, error) {
	return h.firewall.Counters(ctx, table)
}
