package gate

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/event"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/gate/state"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/registry"
	"github.com/gatelodge/gatelodge/internal/step"
	"github.com/gatelodge/gatelodge/internal/store"
)

// memory is what a gate knows, and the part of it that is on disk.
//
// writing is held while what is on disk is changed. mu guards what follows it, and
// is never held while anything waits: not for the disk, not for the kernel, not
// for the others. They are taken in this order.
type memory struct {
	paths  layout.Paths
	store  disk
	events event.Recorder

	writing sync.Mutex
	changes changes

	mu     sync.Mutex
	state  state.State
	inputs inputs
	ssh    sshMemory
	// applied are the forwards as the machine carries them out now.
	applied  []forward.Grant
	problems []string
	failed   string // why the last round could not set the machine up
	// unsaved is set while the registry holds what could not be written down.
	unsaved bool
	first   bool // nothing was stored before this run
	// barred are keys that are being revoked: out at once, before the disk
	// knows.
	barred map[key.Public]bool
}

// disk is where a memory is written down: a store.Store.
type disk interface {
	Dir() string
	Load(name string, v any) (store.Loaded, error)
	Save(name string, v any) error
}

// newMemory reads what a gate has stored, and begins one that has stored nothing:
// with a key of its own, which is not on disk yet.
func newMemory(paths layout.Paths, c config.Gate, st disk, events event.Recorder) (*memory, error) {
	m := &memory{paths: paths, store: st, events: events, barred: map[key.Public]bool{}}
	m.state = state.State{File: paths.ConfigFile(forward.Gate), Config: c, Endpoints: map[key.Public]netip.AddrPort{}}
	return m, m.recall()
}

// recall reads the gate's memory.
func (m *memory) recall() error {
	var s stored
	loaded, err := m.store.Load(storedName, &s)
	if err != nil {
		return err
	}
	if loaded.Warning != "" {
		m.events.Record(event.StateDamaged{Warning: loaded.Warning})
		m.problems = append(m.problems, loaded.Warning)
	}
	m.startInput(s.Input)
	m.recallSSH(s.SSHPorts)
	if !loaded.Found {
		m.state.Registry, m.first, m.unsaved = registry.New(), true, true
		m.state.Key, err = key.NewPrivate()
		return err
	}
	m.state.Key, m.state.Registry = s.PrivateKey.Private, s.Registry
	if m.state.Key.IsZero() || m.state.Registry == nil {
		return fmt.Errorf("the gate's memory in %s holds no key or no registry of homes", m.store.Dir())
	}
	m.applied = m.state.Registry.Granted()
	for _, h := range m.state.Registry.Homes {
		m.state.Endpoints[h.PublicKey] = h.LastEndpoint
	}
	return m.state.Registry.Check(m.state.Identity())
}

// begin writes a first memory down, before anybody can hear of its key, and with
// what can be known by then: the ports of sshd.
func (m *memory) begin(sshPorts func() ([]uint16, error)) error {
	if !m.first {
		return nil
	}
	if ports, err := sshPorts(); err == nil { // else the first round says so
		m.notice(plan.Facts{SSHPorts: ports})
	}
	return m.enforce(func(*registry.State) bool { return false })
}

// readConfig reads gate.toml.
func (m *memory) readConfig() (config.Gate, error) { return ReadConfig(m.paths) }

// ReadConfig reads gate.toml of an instance.
func ReadConfig(p layout.Paths) (config.Gate, error) {
	file := p.ConfigFile(forward.Gate)
	data, err := os.ReadFile(file)
	if err != nil {
		return config.Gate{}, err
	}
	return config.ParseGate(file, data)
}

// now returns the state as it is: a value that nobody changes.
func (m *memory) now() state.State {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.view()
}

// view is now for a caller who holds mu.
func (m *memory) view() state.State {
	s := m.state
	s.Input, s.Trial = m.inputs.kept, m.inputs.planned()
	return s
}

// stored is what would be written down with that registry and that input policy.
// The caller holds mu.
func (m *memory) stored(r *registry.State, kept plan.InputPolicy) stored {
	input := storedInput(kept)
	return stored{PrivateKey: store.PrivateKey{Private: m.state.Key}, Registry: r, Input: &input, SSHPorts: m.state.Facts.SSHPorts}
}

// save writes down what the gate remembers. Only once it is on disk may the
// caller let it count. The caller holds writing, and not mu.
func (m *memory) save(s stored) error {
	step.At("gate: before the registry's change")
	err := m.store.Save(storedName, s)
	step.At("gate: after the registry's change")
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ssh.saved = s.SSHPorts
	return nil
}

// change makes one change to the registry: on a copy, then on disk, then for
// all. An error has changed nothing, which is what f promises as well; it is
// called with mu held. Who only reads does not wait for the disk, and changes
// that come while one is written down are written down together.
func (m *memory) change(f func(r *registry.State) error) error {
	c := &change{make: f, done: make(chan error, 1)}
	if m.changes.add(c) {
		m.writing.Lock()
		defer m.writing.Unlock()
		m.commit(m.changes.take())
	}
	return <-c.done
}

// commit makes changes and writes them down once.
func (m *memory) commit(list []*change) {
	failure := errors.New("a change failed that was to be written down with this one")
	defer func() {
		for _, c := range list {
			c.answer(failure) // also if one of them panics
		}
	}()
	next := m.draft(list)
	if next.Registry == nil {
		return
	}
	if failure = m.save(next); failure != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.Registry, m.unsaved = next.Registry, false
}

// draft makes changes on a copy of the registry, and answers those that are
// refused. What it returns has no registry if all are.
func (m *memory) draft(list []*change) stored {
	m.mu.Lock()
	defer m.mu.Unlock()
	var next *registry.State
	draft := m.state.Registry.Clone()
	for _, c := range list {
		if err := c.make(draft); err != nil {
			c.answer(err)
		} else {
			next = draft
		}
	}
	return m.stored(next, m.inputs.kept)
}

// enforce makes a change to the registry that holds at once, also if the disk
// takes no writes: it is written down as soon as it does. f is called with mu
// held, and reports whether it has changed anything.
func (m *memory) enforce(f func(r *registry.State) bool) error {
	m.writing.Lock()
	defer m.writing.Unlock()
	m.mu.Lock()
	next := m.state.Registry.Clone()
	changed := f(next) || !slices.Equal(m.state.Facts.SSHPorts, m.ssh.saved)
	if !changed && !m.unsaved {
		m.mu.Unlock()
		return nil
	}
	m.state.Registry, m.unsaved = next, true
	s := m.stored(next, m.inputs.kept)
	m.mu.Unlock()
	if err := m.save(s); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unsaved = false
	return nil
}

// review ends invites whose time is up, and judges all forwards again: the
// policy or the ports of sshd may have changed. Where nothing comes of that, it
// does not wait for those who write to the disk.
func (m *memory) review(facts plan.Facts) error {
	if m.reviewed(facts) {
		return nil
	}
	return m.enforce(func(r *registry.State) bool {
		m.inputs.end(m.events)
		passed := r.Expire(time.Now())
		for _, v := range passed.Ended {
			m.events.Record(event.InviteEnded{Home: v.Name, Until: v.Expires})
		}
		before := r.Clone()
		judged := r.Reconsider(m.state.Policies())
		for _, e := range state.Ends(before, r) {
			m.events.Record(event.ForwardEnded{Home: e.Home, Forward: e.Forward, Ports: e.Ports, Over: e.Over, Reason: e.Reason})
		}
		return passed.Changed || judged
	})
}

// reviewed takes new facts, and reports whether all stays as it is by them.
func (m *memory) reviewed(facts plan.Facts) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.Facts = facts
	m.inputs.end(m.events)
	r := m.state.Registry.Clone()
	return !r.Expire(time.Now()).Changed && !r.Reconsider(m.state.Policies()) && slices.Equal(facts.SSHPorts, m.ssh.saved) && !m.unsaved
}

// notice keeps what the machine says of itself. What it could not say this time
// changes nothing: a gate that cannot look judges by what it saw last.
func (m *memory) notice(facts plan.Facts) plan.Facts {
	m.mu.Lock()
	defer m.mu.Unlock()
	facts.SSHPorts = m.everSSH(facts.SSHPorts)
	m.state.Facts = facts
	return facts
}

// publish notes the outcome of a round.
func (m *memory) publish(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.problems, m.failed = nil, ""
	if err != nil {
		m.problems, m.failed = []string{err.Error()}, err.Error()
	}
	m.problems = append(m.problems, m.inputs.problem(plan.WantedInput(m.state.Config))...)
	if len(m.state.Facts.Public) == 0 && len(m.state.Config.Public.Addresses) == 0 {
		m.problems = append(m.problems, "no address of this machine has a way to the internet, so no visitor can arrive: if there is one, name it as addresses under [public] in "+m.state.File)
	}
}

// wrong returns the problems that the last round has left, and why it could not
// set the machine up.
func (m *memory) wrong() (problems []string, failed string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.problems), m.failed
}
