package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/registry"
	"github.com/gatelodge/gatelodge/internal/step"
	"github.com/gatelodge/gatelodge/internal/store"
)

// gateMemory is what a gate remembers, as it is stored. Losing the key would
// lock all homes out, so it is stored with everything else, in one write.
type gateMemory struct {
	PrivateKey store.PrivateKey `json:"private_key"`
	Registry   *registry.State  `json:"registry"`
	Input      *inputMemory     `json:"input,omitempty"` // the policy kept last; nil: none yet
	SSHPorts   []uint16         `json:"ssh_ports,omitempty"`
}

// inputMemory is an input policy as it is stored.
type inputMemory plan.InputPolicy

type inputWire struct {
	Protect   bool     `json:"protect"`
	Accept    []string `json:"accept,omitempty"`
	Protocols []uint16 `json:"protocols,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (m inputMemory) MarshalJSON() ([]byte, error) {
	w := inputWire{Protect: m.Protect}
	for _, p := range m.Accept {
		w.Accept = append(w.Accept, p.String())
	}
	for _, p := range m.Protocols {
		w.Protocols = append(w.Protocols, uint16(p))
	}
	return json.Marshal(w)
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *inputMemory) UnmarshalJSON(data []byte) error {
	var w inputWire
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	var accept []forward.Ports
	for _, text := range w.Accept {
		ports, err := forward.ParsePorts(text)
		if err != nil {
			return fmt.Errorf("an input policy that was kept: %w", err)
		}
		accept = append(accept, ports...)
	}
	var protocols []forward.Protocol
	for _, n := range w.Protocols {
		if n > math.MaxUint8 {
			return fmt.Errorf("an input policy that was kept: %d is no IP protocol", n)
		}
		protocols = append(protocols, forward.Protocol(n))
	}
	*m = inputMemory{Protect: w.Protect, Accept: forward.NewPortSet(accept...), Protocols: protocols}
	return nil
}

// gateName is the name of that memory in the store.
const gateName = "gate"

// recall reads the gate's memory, and makes a first one where there is none.
func (g *gate) recall() error {
	var m gateMemory
	loaded, err := g.store.Load(gateName, &m)
	if err != nil {
		return err
	}
	if loaded.Warning != "" {
		g.log.Error("state", "warning", loaded.Warning)
		g.problems = append(g.problems, loaded.Warning)
	}
	g.startInput(m.Input)
	g.recallSSH(m.SSHPorts)
	if !loaded.Found {
		return g.firstMemory()
	}
	g.key, g.registry = m.PrivateKey.Private, m.Registry
	if g.key.IsZero() || g.registry == nil {
		return fmt.Errorf("the gate's memory in %s holds no key or no registry of homes", g.store.Dir())
	}
	g.applied = gateForwards(g.registry)
	g.endpoints = map[key.Public]netip.AddrPort{}
	for _, h := range g.registry.Homes {
		g.endpoints[h.PublicKey] = h.LastEndpoint
	}
	return g.registry.Check(g.identity())
}

func (g *gate) firstMemory() (err error) {
	if g.key, err = key.NewPrivate(); err != nil {
		return err
	}
	g.registry = registry.New()
	return g.save(g.memory(g.registry, g.inputs.kept))
}

// memory is what would be written down with that registry and that input policy.
// The caller holds mu.
func (g *gate) memory(r *registry.State, kept plan.InputPolicy) gateMemory {
	input := inputMemory(kept)
	return gateMemory{PrivateKey: store.PrivateKey{Private: g.key}, Registry: r, Input: &input, SSHPorts: g.facts.SSHPorts}
}

// save writes down what the gate remembers. Only once it is on disk may the
// caller let it count. The caller holds writing, and not mu.
func (g *gate) save(m gateMemory) error {
	step.At("gate: before the registry's change")
	err := g.store.Save(gateName, m)
	step.At("gate: after the registry's change")
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ssh.saved = m.SSHPorts
	return nil
}

// identity is what the registry has to know of this gate.
func (g *gate) identity() registry.Gate { return identity(g.key, g.config) }

func identity(k key.Private, c config.Gate) registry.Gate {
	return registry.Gate{PublicKey: k.Public(), Prefix4: c.Tunnel.Prefix4, Prefix6: c.Tunnel.Prefix6}
}

// change makes one change to the registry: on a copy, then on disk, then for
// all. An error has changed nothing, which is what f promises as well; it is
// called with mu held. Who only reads does not wait for the disk, and changes
// that come while one is written down are written down together.
func (g *gate) change(f func(r *registry.State) error) error {
	c := &change{make: f, done: make(chan error, 1)}
	if g.changes.add(c) {
		g.writing.Lock()
		defer g.writing.Unlock()
		g.commit(g.changes.take())
	}
	return <-c.done
}

// commit makes changes and writes them down once.
func (g *gate) commit(list []*change) {
	failure := errors.New("a change failed that was to be written down with this one")
	defer func() {
		for _, c := range list {
			c.answer(failure) // also if one of them panics
		}
	}()
	m := g.draft(list)
	if m.Registry == nil {
		return
	}
	if failure = g.save(m); failure != nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.registry, g.unsaved = m.Registry, false
}

// draft makes changes on a copy of the registry, and answers those that are
// refused. What it returns has no registry if all are.
func (g *gate) draft(list []*change) gateMemory {
	g.mu.Lock()
	defer g.mu.Unlock()
	var next *registry.State
	draft := g.registry.Clone()
	for _, c := range list {
		if err := c.make(draft); err != nil {
			c.answer(err)
		} else {
			next = draft
		}
	}
	return g.memory(next, g.inputs.kept)
}

// change is a change of the registry that somebody waits for.
type change struct {
	make func(*registry.State) error
	done chan error
}

// answer says how it went. The first answer counts.
func (c *change) answer(err error) {
	select {
	case c.done <- err:
	default:
	}
}

// changes are those that wait to be written down.
type changes struct {
	mu   sync.Mutex
	list []*change
}

// add reports whether the change is the first, and its maker to take them all.
func (q *changes) add(c *change) (first bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.list = append(q.list, c)
	return len(q.list) == 1
}

func (q *changes) take() []*change {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := q.list
	q.list = nil
	return list
}

// enforce makes a change to the registry that holds at once, also if the disk
// takes no writes: it is written down as soon as it does. f is called with mu
// held, and reports whether it has changed anything.
func (g *gate) enforce(f func(r *registry.State) bool) error {
	g.writing.Lock()
	defer g.writing.Unlock()
	g.mu.Lock()
	next := g.registry.Clone()
	changed := f(next) || !slices.Equal(g.facts.SSHPorts, g.ssh.saved)
	if !changed && !g.unsaved {
		g.mu.Unlock()
		return nil
	}
	g.registry, g.unsaved = next, true
	m := g.memory(next, g.inputs.kept)
	g.mu.Unlock()
	if err := g.save(m); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.unsaved = false
	return nil
}

// review ends invites whose time is up, and judges all forwards again: the
// policy or the ports of sshd may have changed.
func (g *gate) review(facts plan.Facts) error {
	return g.enforce(func(r *registry.State) bool {
		g.facts = facts
		g.endTrial()
		passed := r.Expire(time.Now())
		for _, v := range passed.Ended {
			g.log.Warn("an invite has ended that nobody has used, and stays so also if this machine's clock was wrong; for another: gatelodge gate invite "+v.Name, "home", v.Name, "until", v.Expires)
		}
		judged := r.Reconsider(g.policies())
		return passed.Changed || judged
	})
}
