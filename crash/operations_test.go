package crash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/lab"
)

// operation is something that changes a machine, or what it remembers.
type operation struct {
	name string
	// victim is the host, and verb the command, of the process that is killed:
	// "run" is the daemon.
	victim, verb string
	// stands: the gate's table stood before, and does so throughout.
	stands bool
	// impatient: the owner ends the command whose daemon is killed, because it
	// would wait long.
	impatient bool
	// prepare brings the lab to where the operation begins.
	prepare func(t *testing.T, w *world)
	// run is the operation; its error matters only if nothing was done to it.
	run func(ctx context.Context, w *world) error
	// again is what the owner does after a crash, once the daemons run again.
	// Whether the operation then still has to be done is for it to find out.
	again func(t *testing.T, w *world)
}

// operations are in an order that needs little to prepare.
func operations() []operation {
	return []operation{
		{
			name: "gate: first start ever", victim: gate, verb: "run",
			prepare: func(t *testing.T, w *world) {
				forget(t, w)
				w.restore(t, "fresh", w.Gate())
				w.clear(t, w.Gate())
				must(t, os.RemoveAll(filepath.Join(w.Gate().Root(), "var")))
			},
			run:   func(ctx context.Context, w *world) error { return start(ctx, w.Gate()) },
			again: func(t *testing.T, w *world) { w.up(t, w.Gate()) },
		},
		{
			name: "gate: start after boot", victim: gate, verb: "run",
			prepare: func(t *testing.T, w *world) { w.joined(t); w.clear(t, w.Gate()) },
			run:     func(ctx context.Context, w *world) error { return start(ctx, w.Gate()) },
			again:   reach,
		},
		{
			name: "home: start after boot", victim: home, verb: "run", stands: true,
			prepare: func(t *testing.T, w *world) { w.joined(t, w.Gate()); w.clear(t, w.Home()) },
			run:     func(ctx context.Context, w *world) error { return start(ctx, w.Home()) },
			again:   reach,
		},
		{
			name: "gate: changed policy", victim: gate, verb: "run", stands: true,
			prepare: func(t *testing.T, w *world) {
				w.joined(t, w.Gate(), w.Home())
				w.admit(t)
			},
			run:   func(ctx context.Context, w *world) error { return gatelodge(ctx, w.Gate(), "apply") },
			again: func(t *testing.T, w *world) { reach(t, w); must(t, gatelodge(t.Context(), w.Gate(), "apply")) },
		},
		{
			name: "gate: home's push", victim: gate, verb: "run", stands: true,
			prepare: func(t *testing.T, w *world) { w.joined(t, w.Gate(), w.Home()) },
			run:     expose, again: exposed,
		},
		{
			name: "home: expose, its daemon", victim: home, verb: "run", stands: true,
			prepare: func(t *testing.T, w *world) { w.joined(t, w.Gate(), w.Home()) },
			run:     expose, again: exposed,
		},
		{
			name: "home: expose, the command", victim: home, verb: "expose", stands: true,
			prepare: func(t *testing.T, w *world) {
				w.joined(t, w.Gate(), w.Home())
				if w.publishes(t) {
					must(t, gatelodge(t.Context(), w.Home(), "unexpose", "second"))
				}
			},
			run: func(ctx context.Context, w *world) error {
				return gatelodge(ctx, w.Home(), "expose", "7001", "--name", "second")
			},
			again: exposed,
		},
		{
			name: "gate: enrol", victim: gate, verb: "run", stands: true, impatient: true,
			prepare: invited, run: join, again: joinAgain,
		},
		{
			name: "home: join", victim: home, verb: "join", stands: true,
			prepare: invited, run: join, again: joinAgain,
		},
		{
			name: "gate: down", victim: gate, verb: "down",
			prepare: func(t *testing.T, w *world) { w.joined(t, w.Gate()) },
			run:     func(ctx context.Context, w *world) error { return gatelodge(ctx, w.Gate(), "down") },
			again:   func(t *testing.T, w *world) { must(t, w.Gate().Kill()); reach(t, w); w.down(t, w.Gate()) },
		},
		{
			name: "home: down", victim: home, verb: "down", stands: true,
			prepare: func(t *testing.T, w *world) { w.joined(t, w.Home(), w.Gate()) },
			run:     func(ctx context.Context, w *world) error { return gatelodge(ctx, w.Home(), "down") },
			again:   func(t *testing.T, w *world) { must(t, w.Home().Kill()); reach(t, w); w.down(t, w.Home()) },
		},
	}
}

func (w *world) host(name string) *lab.Host { return w.Host(name) }

func gatelodge(ctx context.Context, h *lab.Host, args ...string) error {
	_, err := h.Gatelodge(ctx, args...)
	return err
}

func start(ctx context.Context, h *lab.Host) error {
	if err := errors.Join(h.Kill(), h.Start()); err != nil {
		return err
	}
	return h.Ready(ctx)
}

// clear takes down a host whose daemon may be gone.
func (w *world) clear(t *testing.T, h *lab.Host) {
	t.Helper()
	must(t, h.Kill())
	w.down(t, h)
}

// joined has those hosts run, of two that have joined, and no other. What runs
// already is left alone. A home that does not run comes at once when it is
// started; one that does has to notice that the gate is back.
func (w *world) joined(t *testing.T, hosts ...*lab.Host) {
	t.Helper()
	for _, h := range []*lab.Host{w.Gate(), w.Home()} {
		if text, err := os.ReadFile(filepath.Join(h.Root(), "joined")); err != nil || len(text) > 0 {
			w.restore(t, "joined", h)
			must(t, os.WriteFile(filepath.Join(h.Root(), "joined"), nil, 0o600))
		}
	}
	for _, h := range []*lab.Host{w.Gate(), w.Home()} {
		if slices.Contains(hosts, h) {
			w.up(t, h)
		} else {
			must(t, h.Kill())
		}
	}
	if len(hosts) == 2 {
		w.reachable(t, portEcho)
	}
}

// invited has a gate run with an invite that nobody has used.
func invited(t *testing.T, w *world) {
	w.restore(t, "invited", w.Gate(), w.Home())
	forget(t, w)
	w.clearIfOurs(t, w.Home())
	w.up(t, w.Gate())
}

// forget notes that the hosts no longer have what "joined" means.
func forget(t *testing.T, w *world) {
	t.Helper()
	for _, h := range []*lab.Host{w.Gate(), w.Home()} {
		must(t, os.WriteFile(filepath.Join(h.Root(), "joined"), []byte("no"), 0o600))
	}
}

// reach brings up both hosts, and waits for a visitor to get through.
func reach(t *testing.T, w *world) {
	t.Helper()
	w.up(t, w.Gate())
	w.up(t, w.Home())
	w.reachable(t, portEcho)
}

// admit has the gate's file let a port in that its policy does not. If it does
// already, it is closed first: that would be on trial, and is kept.
func (w *world) admit(t *testing.T) {
	t.Helper()
	const after, line = "[firewall]\n", "accept = [\"8443/tcp\"]\n"
	file := filepath.Join(w.Gate().Root(), "etc/gatelodge/gate.toml")
	content, err := os.ReadFile(file)
	must(t, err)
	closed := strings.Replace(string(content), after+line, after, 1)
	if closed != string(content) {
		must(t, os.WriteFile(file, []byte(closed), 0o600))
		must(t, w.Gate().Confirm(t.Context()))
	}
	open := strings.Replace(closed, after, after+line, 1)
	if open == closed {
		t.Fatalf("%s has no line %q", file, after)
	}
	must(t, os.WriteFile(file, []byte(open), 0o600))
}

// publishes reports whether home.toml holds the second forward.
func (w *world) publishes(t *testing.T) bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(w.Home().Root(), "etc/gatelodge/home.toml"))
	must(t, err)
	return strings.Contains(string(text), "[forward.second]")
}

// expose publishes the second forward, or stops publishing it.
func expose(ctx context.Context, w *world) error {
	text, err := os.ReadFile(filepath.Join(w.Home().Root(), "etc/gatelodge/home.toml"))
	if err != nil {
		return err
	}
	if strings.Contains(string(text), "[forward.second]") {
		return gatelodge(ctx, w.Home(), "unexpose", "second")
	}
	return gatelodge(ctx, w.Home(), "expose", "7001", "--name", "second")
}

// exposed checks that, once both daemons run and know the file, what the file
// says holds.
func exposed(t *testing.T, w *world) {
	t.Helper()
	reach(t, w)
	must(t, gatelodge(t.Context(), w.Home(), "apply"))
	if w.publishes(t) {
		w.reachable(t, portSecond)
		return
	}
	eventually(t, "the second forward ends", func(context.Context) error {
		if w.open(t, portSecond) {
			return fmt.Errorf("port %d is open", portSecond)
		}
		return nil
	})
}

func join(ctx context.Context, w *world) error {
	return gatelodge(ctx, w.Home(), "join", w.invite, "--no-start")
}

// joinAgain uses the same invite again, unless home has its answer already.
func joinAgain(t *testing.T, w *world) {
	t.Helper()
	w.up(t, w.Gate())
	if err := join(t.Context(), w); err != nil && !strings.Contains(err.Error(), "this machine is the home") {
		t.Errorf("the invite is lost: %v", err)
	}
	must(t, w.Home().Start())
	must(t, w.Home().Ready(t.Context()))
	must(t, w.Home().Expose(t.Context(), "7000", "--name", "echo"))
	w.reachable(t, portEcho)
}

// clearIfOurs takes a host down that is not clean.
func (w *world) clearIfOurs(t *testing.T, h *lab.Host) {
	t.Helper()
	if ours(t, h) == "" {
		return
	}
	file := filepath.Join(h.Root(), "etc/gatelodge", h.Name+".toml")
	if _, err := os.Stat(file); err == nil {
		w.clear(t, h)
		return
	}
	must(t, os.MkdirAll(filepath.Dir(file), 0o755))
	must(t, os.WriteFile(file, []byte("version = 1\n"), 0o600)) // down wants to know the role
	w.clear(t, h)
	must(t, os.Remove(file))
}
