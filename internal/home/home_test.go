package home

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/membership"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// Whatever runs beside a reload sees the old configuration or the new one, and
// never half of each. It is the race detector that fails here.
func TestTheConfigurationIsReadUnderItsLock(t *testing.T) {
	h := homeOf(t, &fakeGate{}, new(bytes.Buffer), "web")
	h.paths = layout.Paths{Root: t.TempDir()}
	h.machine = new(host.Host)
	h.config.Tunnel.Interface = "gatelodge"
	file := h.paths.ConfigFile(forward.Home)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("version = 1\n[gate]\nendpoints = [\"198.51.100.1:55107\"]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := h.reload(); err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(300 * time.Millisecond)
	var wait sync.WaitGroup
	for _, beside := range []func(){
		func() {
			if err := h.reload(); err != nil {
				t.Error(err)
			}
		},
		func() { h.hasRoute(t.Context(), netip.MustParseAddr("127.0.0.1")) },
		func() { _, _ = h.keep.candidates(t.Context()) },
		func() { _ = h.push.round(t.Context()) },
		func() { h.want(plan.Facts{}); h.publish(plan.Facts{}, nil) },
		func() {
			home := &Home{link: h}
			home.summary()
			home.keepProblem()
			h.endpoints()
			h.ends()
			h.where()
			h.lastEndpoint()
		},
		func() { _ = h.joined().RefuseOverlap(plan.Facts{}) },
		func() { h.push.verdict("web"); h.push.problems(); h.push.public(); h.push.refresh() },
	} {
		wait.Go(func() {
			for time.Now().Before(end) {
				beside()
			}
		})
	}
	wait.Wait()
}

// That the memory had to be read from its copy is said for as long as the daemon
// runs, not until its first round.
func TestDamagedMemoryStaysAProblem(t *testing.T) {
	h := homeOf(t, &fakeGate{}, new(bytes.Buffer), "web")
	k, err := key.NewPrivate()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // so that there is a copy
		if err := h.remember(func(m *membership.Memory) { m.PrivateKey.Private = k; m.Generation++ }); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(h.store.Dir(), "home.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.recall(); err != nil {
		t.Fatal(err)
	}
	h.publish(plan.Facts{}, nil)
	if p := h.ownProblems(); len(p) != 1 || !strings.Contains(p[0], "home.json") {
		t.Errorf("problems %q", p)
	}
}

func TestTheSummaryOfAHome(t *testing.T) {
	l := homeOf(t, &fakeGate{}, new(bytes.Buffer))
	h := &Home{link: l}
	l.keep.up = false
	wants := func(want string) {
		t.Helper()
		if got := h.summary(); !strings.HasPrefix(got, want) {
			t.Errorf("it says %q, wanted %q", got, want)
		}
	}
	wants("setting this machine up")
	l.loop.Reached()
	wants("no tunnel yet: the gate does not answer")
	l.keep.problem = "no route"
	wants("no tunnel yet, keeps trying: no route")
	l.keep.up = true
	l.config.Forwards = make([]forward.Forward, 1)
	wants("tunnel up, 1 forward")
	l.problems = []string{"no nft"}
	wants("no nft")
}
