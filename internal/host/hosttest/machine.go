// Package hosttest has a machine that stands in memory: the fake of host.Machine,
// and of what a gate needs of a machine beside. A test says what the machine is,
// lets things happen to it, and looks at what has become of it. It reads no clock
// but time.Now, waits on channels only, and so lives in a bubble of testing/synctest.
// Tests of this package hold it against the kernel.
package hosttest

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// World is all that there is of a machine. Do gives it to a test.
type World struct {
	// What the machine is.
	Facts     plan.Facts // SSHPorts are those of its sshd
	Kind      plan.Kind
	Why       string // it is not the kernel's WireGuard
	MTU       int    // of every route, in bytes; 0: there is no route
	RootPorts []uint16
	Sessions  []host.Session
	Counters  host.Counters
	Led       []plan.Led
	Traced    func() (arrived []uint16, drops []host.OthersDrop, byUs []uint16, err error)

	// What it has of ours.
	Device  plan.ObservedWireGuard
	Routing plan.ObservedRouting // Sysctls are those that do not have their first value
	Table   string               // what the table was loaded with; "": there is none
	Drift   []string             // where the table is no longer as it was loaded
	Guard   bool

	// What was done to flows, one entry for each call.
	Cut     [][]uint32
	Trimmed [][]host.ForwardChange
	Freed   []forward.PortSet
	Ended   [][]plan.HomeForward // what is published now

	applied plan.WireGuard // what the device was last configured with
	ports   uint16         // the last that the kernel has chosen
	admit   func(key.Public) bool
}

// Machine is the fake.
type Machine struct {
	*stage
	watchers map[chan host.Event]bool
}

// stage is the world, and what a test has the machine's operations do.
type stage struct {
	mu     sync.Mutex
	world  World
	faults map[Op]fault
	hangs  map[Op]chan struct{}
	counts map[Op]int
}

var _ host.Machine = (*Machine)(nil)

// firstPort is the first that the kernel chooses.
const firstPort = 40000

// New returns a machine of which these are the facts, on which nothing of ours
// stands. Its routes have an MTU of 1500 bytes.
func New(facts plan.Facts) *Machine {
	world := World{Facts: facts, Kind: plan.Kernel, MTU: 1500, ports: firstPort}
	return &Machine{
		stage:    &stage{world: world, faults: map[Op]fault{}, hangs: map[Op]chan struct{}{}, counts: map[Op]int{}},
		watchers: map[chan host.Event]bool{},
	}
}

// Do gives the world to f, which may look at it and change it, and keeps none of it.
func (m *stage) Do(f func(w *World)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(&m.world)
}

// Hear lets a peer of the device be heard, with so many bytes more and a handshake
// just now. An endpoint that is valid is where it calls from.
func (m *stage) Hear(peer key.Public, from netip.AddrPort, bytes uint64) {
	m.Do(func(w *World) {
		i := slices.IndexFunc(w.Device.Peers, func(p plan.ObservedPeer) bool { return p.PublicKey == peer })
		if i < 0 {
			return // who is not in the device is not heard
		}
		p := &w.Device.Peers[i]
		p.ReceivedBytes, p.LatestHandshake = p.ReceivedBytes+bytes, time.Now()
		if from.IsValid() {
			p.Endpoint = from
		}
	})
}

// HasPeer reports whether a key is in the device.
func (m *stage) HasPeer(k key.Public) (there bool) {
	m.Do(func(w *World) {
		there = slices.ContainsFunc(w.Device.Peers, func(p plan.ObservedPeer) bool { return p.PublicKey == k })
	})
	return there
}

// Facts implements host.Machine.
func (m *Machine) Facts(ctx context.Context, _ string) (facts plan.Facts, err error) {
	err = m.op(ctx, Facts, func(w *World) error { facts = w.Facts; return nil })
	return facts, err
}

// Observe implements host.Machine.
func (m *Machine) Observe(ctx context.Context, want plan.State) (o plan.Observed, err error) {
	err = m.op(ctx, Observe, func(w *World) error { o = w.observe(want); return nil })
	return o, err
}

// Glance implements host.Machine.
func (m *Machine) Glance(ctx context.Context, want plan.State) (o plan.Observed, err error) {
	err = m.op(ctx, Glance, func(w *World) error { o = w.observe(want); o.Firewall = plan.ObservedFirewall{}; return nil })
	return o, err
}

// Diff implements host.Machine.
func (m *Machine) Diff(ctx context.Context, want plan.State) (changes []plan.Step, err error) {
	err = m.op(ctx, Diff, func(w *World) error { changes = w.diff(want); return nil })
	return changes, err
}

// Apply implements host.Machine. Where it fails, nothing has changed.
func (m *Machine) Apply(ctx context.Context, want plan.State) (changes []plan.Step, err error) {
	err = m.op(ctx, Apply, func(w *World) error {
		changes = w.diff(want)
		for _, c := range changes {
			w.step(c, want)
		}
		return nil
	})
	return changes, err
}

// MTUTo implements host.Machine.
func (m *Machine) MTUTo(ctx context.Context, _ netip.Addr, _ uint32) (mtu int, err error) {
	err = m.op(ctx, MTUTo, func(w *World) error {
		if mtu = w.MTU; mtu == 0 {
			return errors.New("network is unreachable")
		}
		return nil
	})
	return mtu, err
}

// diff is what lies between. A peer that is not admitted counts neither way.
func (w *World) diff(want plan.State) []plan.Step {
	observed := w.observe(want)
	observed.WireGuard.Peers = slices.DeleteFunc(observed.WireGuard.Peers, func(p plan.ObservedPeer) bool {
		return wanted(want.WireGuard, p.PublicKey) && !w.admits(p.PublicKey)
	})
	want.WireGuard = w.admitted(want.WireGuard)
	return plan.Diff(observed, want)
}

// step makes one change, as host.Host does.
func (w *World) step(c plan.Step, want plan.State) {
	r := &w.Routing
	switch c := c.(type) {
	case plan.LoadFirewall:
		w.Table, w.Drift = document(want.Firewall), nil
	case plan.RaiseGuard:
		w.Guard = true
	case plan.ConfigureWireGuard:
		w.configure(w.admitted(want.WireGuard))
	case plan.SetLink:
		r.LinkUp, r.MTU = true, c.MTU
	case plan.AddAddress:
		r.Addresses = append(r.Addresses, c.Address)
	case plan.DeleteAddress:
		r.Addresses = slices.DeleteFunc(r.Addresses, func(p netip.Prefix) bool { return p == c.Address })
	case plan.AddRoute:
		r.Routes = append(r.Routes, c.Route)
	case plan.DeleteRoute:
		r.Routes = slices.DeleteFunc(r.Routes, func(o plan.Route) bool { return o == c.Route })
	case plan.AddRule:
		r.Rules = append(r.Rules, c.Rule)
	case plan.DeleteRule:
		r.Rules = slices.DeleteFunc(r.Rules, func(o plan.Rule) bool { return o == c.Rule })
	case plan.SetSysctl:
		w.SetSysctl(c.Sysctl.Name, c.Sysctl.Value)
	}
}

// observe is what there is, held against what is wanted.
func (w *World) observe(want plan.State) plan.Observed {
	o := plan.Observed{WireGuard: w.Device, Routing: w.Routing}
	o.WireGuard.Kind, o.WireGuard.Peers = w.Kind, slices.Clone(w.Device.Peers)
	o.Routing.Addresses, o.Routing.Routes, o.Routing.Rules = slices.Clone(w.Routing.Addresses), slices.Clone(w.Routing.Routes), slices.Clone(w.Routing.Rules)
	o.Routing.Sysctls = nil
	for _, s := range want.Routing.Sysctls {
		if value, there := w.sysctl(s.Name, s.OfInterface(want.Routing.Interface)); there {
			o.Routing.Sysctls = append(o.Routing.Sysctls, plan.Sysctl{Name: s.Name, Value: value})
		}
	}
	o.Firewall = plan.ObservedFirewall{Present: w.Table != "", Current: w.Table == document(want.Firewall)}
	if o.Firewall.Current {
		o.Firewall.Drift = slices.Clone(w.Drift)
	}
	if !w.Guard {
		o.Firewall.Guard = []string{"it is missing"}
	}
	return o
}

// document tells two wanted tables apart. What is left of a trial's time does not.
func document(f plan.Firewall) string {
	if f.Gate != nil && f.Gate.Trial != nil {
		gate, trial := *f.Gate, *f.Gate.Trial
		trial.Left = 0
		gate.Trial, f.Gate = &trial, &gate
	}
	text, err := json.Marshal(f)
	if err != nil {
		panic(err) // there is nothing in it that has no text
	}
	return string(text)
}

const ipForward = "net.ipv4.ip_forward"

// sysctl returns the value of a setting, "0" if nobody has set it. One of the
// tunnel's interface is there while that is, and forwarding of each interface is
// that of all until it is set for itself.
func (w *World) sysctl(name string, ofTunnel bool) (value string, there bool) {
	if ofTunnel && !w.Device.Present {
		return "", false
	}
	for _, s := range w.Routing.Sysctls {
		if s.Name == name {
			return s.Value, true
		}
	}
	if name != ipForward && isForwarding(name) {
		return w.sysctl(ipForward, false)
	}
	return "0", true
}

func isForwarding(name string) bool {
	return strings.HasPrefix(name, "net.ipv4.conf.") && strings.HasSuffix(name, ".forwarding")
}

// SetSysctl sets one. To set forwarding for all sets it for each.
func (w *World) SetSysctl(name, value string) {
	list := slices.DeleteFunc(slices.Clone(w.Routing.Sysctls), func(o plan.Sysctl) bool {
		return o.Name == name || name == ipForward && isForwarding(o.Name)
	})
	w.Routing.Sysctls = append(list, plan.Sysctl{Name: name, Value: value})
}
