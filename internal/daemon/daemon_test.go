package daemon

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/status"
)

func ports(t *testing.T, text ...string) []forward.Ports {
	t.Helper()
	var all []forward.Ports
	for _, s := range text {
		p, err := forward.ParsePorts(s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p...)
	}
	return all
}

func TestOnlyFlowsThatChangeTheirWayAreCut(t *testing.T) {
	home := netip.MustParseAddr("10.99.0.2")
	web := plan.GateForward{ID: 1, Ports: ports(t, "443/tcp"), Target4: home}
	game := plan.GateForward{ID: 2, Ports: ports(t, "25565/udp"), Target4: home}
	limited := web
	limited.Limit.Connections = 5
	moved := game
	moved.Ports = ports(t, "25566/udp")
	elsewhere := web
	elsewhere.Target4 = netip.MustParseAddr("10.99.0.3")
	for name, c := range map[string]struct {
		before, after        []plan.GateForward
		gone, changed, added string
	}{
		"nothing":      {[]plan.GateForward{web, game}, []plan.GateForward{game, web}, "[]", "[]", ""},
		"one less":     {[]plan.GateForward{web, game}, []plan.GateForward{web}, "[2]", "[]", ""},
		"one more":     {[]plan.GateForward{web}, []plan.GateForward{web, game}, "[]", "[]", "25565/udp"},
		"other ports":  {[]plan.GateForward{web, game}, []plan.GateForward{web, moved}, "[]", "[2]", "25566/udp"},
		"another home": {[]plan.GateForward{web, game}, []plan.GateForward{elsewhere, game}, "[]", "[1]", "443/tcp"},
		"only a limit": {[]plan.GateForward{web}, []plan.GateForward{limited}, "[]", "[]", ""},
		"all":          {[]plan.GateForward{web, game}, nil, "[1 2]", "[]", ""},
	} {
		d := compareForwards(c.before, c.after)
		var changed []uint32
		for _, f := range d.changed {
			changed = append(changed, f.After.ID)
		}
		if text(d.gone) != c.gone || text(changed) != c.changed || d.added.String() != c.added || len(d.living) != len(c.after) {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func text(list []uint32) string {
	var b strings.Builder
	b.WriteByte('[')
	for i, n := range list {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteByte(byte('0' + n))
	}
	return b.String() + "]"
}

func TestNoRouteNamesTheMissingFamily(t *testing.T) {
	v4, v6 := netip.MustParseAddrPort("198.51.100.1:55107"), netip.MustParseAddrPort("[2001:db8::1]:55107")
	for _, c := range []struct {
		found []netip.AddrPort
		says  string
	}{
		{[]netip.AddrPort{v6}, "no common address family"},
		{[]netip.AddrPort{v4}, "no IPv4 route"},
		{[]netip.AddrPort{v4, v6}, "no route to the gate"},
	} {
		if got := noRoute(c.found).Error(); !strings.Contains(got, c.says) {
			t.Errorf("%v: %q does not say %q", c.found, got, c.says)
		}
	}
}

func TestResolveTakesAddressesWithoutALookup(t *testing.T) {
	for endpoint, want := range map[string]string{
		"198.51.100.1:55107":          "198.51.100.1:55107",
		"[2001:db8::1]:1":             "[2001:db8::1]:1",
		"[::ffff:198.51.100.1]:55107": "198.51.100.1:55107",
	} {
		got, err := resolve(t.Context(), endpoint)
		if err != nil || len(got) != 1 || got[0].String() != want {
			t.Errorf("resolve(%q) = %v, %v", endpoint, got, err)
		}
	}
	if _, err := resolve(t.Context(), "198.51.100.1"); err == nil {
		t.Error("an endpoint without a port is taken")
	}
}

func TestRoleIsWhatTheConfigurationFolderSays(t *testing.T) {
	p := Paths{Root: t.TempDir()}
	if _, err := p.Role(); !errors.Is(err, ErrNoRole) {
		t.Errorf("an empty root: %v", err)
	}
	write := func(role plan.Role) {
		if err := os.MkdirAll(p.Config(), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p.ConfigFile(role), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(plan.Home)
	if role, err := p.Role(); role != plan.Home || err != nil {
		t.Errorf("home.toml alone: %v, %v", role, err)
	}
	write(plan.Gate)
	if _, err := p.Role(); err == nil {
		t.Error("both files at once are taken")
	}
}

// fakeRole answers as a daemon does.
type fakeRole struct{ err error }

func (f fakeRole) Report(context.Context) status.Report {
	return status.Report{Role: "gate", Running: true}
}
func (f fakeRole) Plan(context.Context) (PlanResponse, error) {
	return PlanResponse{Changes: []string{"add rule"}}, f.err
}
func (f fakeRole) Apply(context.Context, ApplyRequest) (ApplyResponse, error) {
	return ApplyResponse{}, f.err
}

func TestTheLocalSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "run", "daemon.sock")
	client := NewClient(socket)
	if _, err := client.Status(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("without a daemon: %v", err)
	}
	refusal := &RefusedError{Message: "no", Hint: "ask again"}
	ctx, stop := context.WithCancel(t.Context())
	server := newLocalServer(socket, fakeRole{refusal}, stop, slog.New(slog.DiscardHandler))
	l, err := server.listen()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- serveHTTP(ctx, l, server.mux) }()
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 || info.Mode().Type() != fs.ModeSocket {
		t.Errorf("the socket is %v, %v", info.Mode(), err)
	}
	if r, err := client.Status(t.Context()); err != nil || !r.Running {
		t.Errorf("status: %+v, %v", r, err)
	}
	_, err = client.Apply(t.Context(), ApplyRequest{})
	if got, ok := errors.AsType[*RefusedError](err); !ok || *got != *refusal {
		t.Errorf("a refusal arrives as %v", err)
	}
	if err := client.Revoke(t.Context(), "attic"); err == nil {
		t.Error("a daemon that is no gate revokes")
	}
	if err := client.Stop(t.Context()); err != nil {
		t.Errorf("stop: %v", err)
	}
	if err := <-done; err != nil {
		t.Errorf("the server ended with %v", err)
	}
}

// A socket that a daemon left when it was killed does not keep the next one
// from starting.
func TestADeadDaemonsSocketIsReplaced(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "daemon.sock")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := NewClient(socket).Status(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("at a dead daemon's socket: %v", err)
	}
	l, err := newLocalServer(socket, fakeRole{}, func() {}, slog.New(slog.DiscardHandler)).listen()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
