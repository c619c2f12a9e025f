package gate

import (
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/event"
	"github.com/gatelodge/gatelodge/internal/heard"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/registry"
	"github.com/gatelodge/gatelodge/internal/store"
	"github.com/gatelodge/gatelodge/internal/supervise"
)

// newTestMemory returns a gate's memory of one invite, of a month ago.
func newTestMemory(t *testing.T) *memory {
	t.Helper()
	paths := layout.Paths{Root: t.TempDir()}
	c, err := config.ParseGate("gate.toml", []byte("version = 1\n"))
	must(t, err)
	st, err := store.Open(paths.State(), nil)
	must(t, err)
	m, err := newMemory(paths, c, st, event.Log{To: slog.New(slog.DiscardHandler)})
	must(t, err)
	secret, err := key.NewSecret()
	must(t, err)
	_, err = m.state.Registry.Invite(m.state.Identity(), "attic", secret, time.Now().AddDate(0, -1, 0), time.Hour)
	must(t, err)
	return m
}

// A disk that takes no writes does not keep the gate from doing its work, and
// what could not be written down is, once it can.
func TestAReviewThatCannotBeSavedStillHolds(t *testing.T) {
	g := newTestMemory(t)
	if err := g.store.(*store.Store).Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := g.review(plan.Facts{SSHPorts: []uint16{2222}}); err == nil || !g.unsaved {
			t.Fatalf("saved in a store that is closed: %v", err)
		}
	}
	if len(g.state.Registry.Invites) != 0 {
		t.Errorf("the invite is still remembered: %+v", g.state.Registry.Invites)
	}
	var err error
	if g.store, err = store.Open(g.paths.State(), nil); err != nil {
		t.Fatal(err)
	}
	if err := g.review(plan.Facts{}); err != nil || g.unsaved {
		t.Errorf("the disk is well again: %v", err)
	}
	var s stored
	if loaded, err := g.store.Load(storedName, &s); err != nil || !loaded.Found {
		t.Errorf("nothing was saved: %+v, %v", loaded, err)
	}
}

// A gate that cannot look at its machine for a moment judges by what it saw last:
// nothing that is granted is lost for it, and nothing that is reserved given away.
func TestAFailedLookChangesNoVerdict(t *testing.T) {
	g := newTestMemory(t)
	g.state.Config.Tunnel.Prefix6 = netip.MustParsePrefix("fd99::/64")
	g.notice(plan.Facts{SSHPorts: []uint16{2222}, IPv6: true})
	g.notice(plan.Facts{SSHPorts: []uint16{22}, IPv6: true}) // an sshd restarts
	g.publish(errors.New("cannot look at this machine"))
	p := g.state.Policies()("attic")
	if !p.Families.IPv6 {
		t.Error("IPv6 is taken away")
	}
	for _, port := range []string{"22/tcp", "2222/tcp"} {
		if got := p.Reserved[0].Ports; !got.Contains(ports(t, port)[0]) {
			t.Errorf("%s is given away: reserved are %s", port, got)
		}
	}
}

func TestTheSummaryOfAGate(t *testing.T) {
	g := &Gate{memory: newTestMemory(t), silences: heard.NewSilences()}
	g.loop = supervise.NewLoop("gate", time.Hour, event.Log{To: slog.New(slog.DiscardHandler)}, nil)
	wants := func(want string) {
		t.Helper()
		if got := g.summary(); got != want {
			t.Errorf("it says %q, wanted %q", got, want)
		}
	}
	wants("setting this machine up")
	g.loop.Reached()
	wants("no home yet, 0 forwards")
	g.memory.state.Registry.Homes = []registry.Home{{Name: "attic", PublicKey: key.Public{1}}, {Name: "barn", PublicKey: key.Public{2}}}
	g.silences.Due(time.Now(), []plan.ObservedPeer{{PublicKey: key.Public{1}, ReceivedBytes: 100}, {PublicKey: key.Public{2}}})
	wants("1 of 2 homes connected, 0 forwards")
	g.memory.problems = []string{"no nft"}
	wants("no nft")
}

// Changes that wait for one another are written down together; one that is
// refused, or that panics, takes none of the others with it, nor lets them wait.
func TestChangesAreWrittenTogether(t *testing.T) {
	g := newTestMemory(t)
	g.writing.Lock() // as somebody else's would
	refusal := errors.New("no")
	results := make(chan error, 3)
	for _, f := range []func(*registry.State) error{
		func(r *registry.State) error { r.NextForwardID = 7; return nil },
		func(*registry.State) error { return refusal },
		func(r *registry.State) error { r.Homes = append(r.Homes, registry.Home{Name: "barn"}); return nil },
	} {
		go func() { results <- g.change(f) }()
	}
	waitFor(t, "all changes to wait", func() bool {
		g.changes.mu.Lock()
		defer g.changes.mu.Unlock()
		return len(g.changes.list) == 3
	})
	if g.state.Registry.NextForwardID == 7 {
		t.Error("a change counts before it is on disk")
	}
	g.writing.Unlock()
	var refused int
	for range 3 {
		if err := <-results; err == refusal {
			refused++
		} else if err != nil {
			t.Error(err)
		}
	}
	if refused != 1 || g.state.Registry.NextForwardID != 7 || len(g.state.Registry.Homes) != 1 {
		t.Errorf("%d were refused, and the registry is %+v", refused, g.state.Registry)
	}
	var s stored
	if _, err := g.store.Load(storedName, &s); err != nil || s.Registry.NextForwardID != 7 || len(s.Registry.Homes) != 1 {
		t.Errorf("on disk is %+v, %v", s.Registry, err)
	}
}

func TestAChangeThatPanicsLetsNobodyWait(t *testing.T) {
	g := newTestMemory(t)
	g.writing.Lock()
	results := make(chan error, 2)
	for _, f := range []func(*registry.State) error{
		func(*registry.State) error { panic("a mistake") },
		func(r *registry.State) error { r.NextForwardID = 7; return nil },
	} {
		go func() {
			err := errors.New("it panicked")
			defer func() {
				_ = recover() // as the server of the control channel does
				results <- err
			}()
			err = g.change(f)
		}()
	}
	waitFor(t, "both changes to wait", func() bool {
		g.changes.mu.Lock()
		defer g.changes.mu.Unlock()
		return len(g.changes.list) == 2
	})
	g.writing.Unlock()
	for range 2 {
		if err := <-results; err == nil {
			t.Error("a change counts as made although it was not")
		}
	}
	if err := g.change(func(r *registry.State) error { r.NextForwardID = 8; return nil }); err != nil || g.state.Registry.NextForwardID != 8 {
		t.Errorf("the next change: %v", err)
	}
}

// waitFor waits for a condition that others bring about.
func waitFor(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// A first memory holds the ports of sshd as well as the key: a gate that is stopped
// before its first round forgets neither.
func TestAFirstMemoryKnowsSSHD(t *testing.T) {
	for name, c := range map[string]struct {
		look func() ([]uint16, error)
		want []uint16
	}{
		"sshd is seen":      {func() ([]uint16, error) { return []uint16{2222}, nil }, []uint16{2222}},
		"it cannot be seen": {func() ([]uint16, error) { return nil, errors.New("no /proc") }, nil},
	} {
		m := newTestMemory(t)
		must(t, m.begin(c.look))
		var s stored
		if loaded, err := m.store.Load(storedName, &s); err != nil || !loaded.Found || s.PrivateKey.IsZero() || !slices.Equal(s.SSHPorts, c.want) {
			t.Errorf("%s: on disk are %v, %v", name, s.SSHPorts, err)
		}
		m.first = false
		must(t, m.begin(func() ([]uint16, error) { t.Error("a gate that remembers looks"); return nil, nil }))
	}
}
