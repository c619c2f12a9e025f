package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/lab"
)

// refuses runs a command that must fail with a status, and returns its error.
func refuses(t *testing.T, h *lab.Host, status int, args ...string) string {
	t.Helper()
	_, err := h.Gatelodge(t.Context(), args...)
	exit, ok := errors.AsType[*lab.ExitError](err)
	if !ok || exit.Status != status {
		t.Fatalf("gatelodge %s: %v, not exit status %d", strings.Join(args, " "), err, status)
	}
	return exit.Stderr
}

func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%q does not say %q", text, p)
		}
	}
}

func TestTheGatesOwnPortsAreNeverForwarded(t *testing.T) {
	l := newJoinedLab(t)
	for _, ask := range []struct{ ports, reason string }{
		{"2222/tcp", "ssh"},
		{"55107/udp", "WireGuard"},
		{"55108", "control channel"},
		{"1-6999", "ssh"},
		{"2000-3000/tcp", "2222/tcp"},
	} {
		file := filepath.Join(l.Home().Root(), "etc/gatelodge/home.toml")
		before, err := os.ReadFile(file)
		must(t, err)
		contains(t, refuses(t, l.Home(), 1, "expose", ask.ports, "--name", "greedy"), "the gate refuses greedy", ask.reason)
		after, err := os.ReadFile(file)
		must(t, err)
		if string(before) != string(after) {
			t.Errorf("after a refusal home.toml is not as it was:\n%s", after)
		}
	}
	for _, gate := range []netip.Addr{l.Gate().IPv4, l.Gate().IPv6} {
		if _, err := lab.ProbeSSH(t.Context(), l.Visitor(), netip.AddrPortFrom(gate, 2222)); err != nil {
			t.Errorf("the gate's ssh at %s: %v", gate, err)
		}
	}
	reachable(t, l)
}

// unanswered reports an error unless a connection gets no answer at all, not
// even a refusal.
func unanswered(t *testing.T, h *lab.Host, at string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	c, err := h.Dial(ctx, "tcp", at)
	if err == nil {
		_ = c.Close()
		t.Errorf("%s reaches %s", h.Name, at)
	} else if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() {
		t.Errorf("%s gets an answer from %s: %v", h.Name, at, err)
	}
}

// refusedAtHome reports an error unless home's own rules refuse a connection at
// once. What the gate makes of a home without such rules is tested with them.
func refusedAtHome(t *testing.T, h *lab.Host, at string) {
	t.Helper()
	c, err := h.Dial(t.Context(), "tcp", at)
	if err == nil {
		_ = c.Close()
		t.Errorf("%s reaches %s", h.Name, at)
	} else if !errors.Is(err, syscall.EHOSTUNREACH) {
		t.Errorf("%s is not refused %s at once: %v", h.Name, at, err)
	}
}

func TestAHomeReachesNothingThroughTheGate(t *testing.T) {
	l := newJoinedLab(t)
	must(t, l.Join(t.Context(), l.Home2()))
	must(t, l.Home2().Expose(t.Context(), "7100", "--name", "echo"))
	for _, to := range []string{"10.99.0.1/32", "10.99.0.3/32", "203.0.113.0/24"} {
		run(t, l.Home(), "ip", "route", "replace", to, "dev", "gatelodge", "src", "10.99.0.2")
	}
	refusedAtHome(t, l.Home(), "10.99.0.1:2222")  // the gate's ssh
	refusedAtHome(t, l.Home(), "10.99.0.3:7100")  // the other home, on a port that it publishes
	refusedAtHome(t, l.Home(), "10.99.0.3:22")    // and on one that it does not
	refusedAtHome(t, l.Home(), "203.0.113.10:80") // the internet
	c, err := l.Home().Dial(t.Context(), "tcp", "10.99.0.1:55108")
	if err != nil {
		t.Fatalf("home does not reach the control channel either: %v", err)
	}
	must(t, c.Close())
}

func TestAGateReachesOnlyWhatHomePublishes(t *testing.T) {
	l := newJoinedLab(t)
	unanswered(t, l.Gate(), "10.99.0.2:7001") // a service of home's that is not published
	run(t, l.Gate(), "ip", "route", "add", "192.168.1.0/24", "dev", "gatelodge")
	unanswered(t, l.Gate(), "192.168.1.10:7000") // home by its address in the LAN
	unanswered(t, l.Gate(), "192.168.1.20:7002") // another device of the LAN
	unanswered(t, l.Gate(), "10.99.0.2:7000")    // what is published, from the gate's private address
	run(t, l.Gate(), "ip", "route", "replace", "10.99.0.2/32", "dev", "gatelodge", "src", "198.51.100.1")
	c, err := l.Gate().Dial(t.Context(), "tcp", "10.99.0.2:7000")
	if err != nil {
		t.Fatalf("the gate does not reach what is published as a visitor either: %v", err)
	}
	must(t, c.Close())
}

func TestTheFirstHomeKeepsThePort(t *testing.T) {
	l := newJoinedLab(t)
	must(t, l.Join(t.Context(), l.Home2()))
	contains(t, refuses(t, l.Home2(), 1, "expose", "7000/tcp", "--name", "mine"), "belongs to another home of this gate")
	reachable(t, l)
}

func TestRevokeCutsAtOnce(t *testing.T) {
	l := newJoinedLab(t)
	at := netip.AddrPortFrom(l.Gate().IPv4, portEcho)
	c, err := l.Visitor().Dial(t.Context(), "tcp", at.String())
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	read(t, c)
	contains(t, refuses(t, l.Gate(), 2, "gate", "revoke", "home"), "there is nobody to ask")
	contains(t, refuses(t, l.Gate(), 1, "gate", "revoke", "hom"), `did you mean "home"?`)
	reachable(t, l)
	_, err = l.Gate().Gatelodge(t.Context(), "gate", "revoke", "home", "--yes")
	must(t, err)
	must(t, c.SetDeadline(time.Now().Add(3*time.Second)))
	if _, err := c.Write([]byte("hello?\n")); err == nil {
		if _, err := c.Read(make([]byte, 100)); err == nil {
			t.Error("a connection lives on after revoke")
		}
	}
	silent(t, l, forward.TCP, at)
	eventually(t, "home noticing", func(ctx context.Context) error {
		s, err := l.Home().Status(ctx)
		if err == nil && s.Works() {
			err = fmt.Errorf("the tunnel counts as connected")
		}
		return err
	})
	out, err := l.Gate().Gatelodge(t.Context(), "gate", "homes")
	must(t, err)
	contains(t, out, "no homes yet")
}

func TestAnInviteWorksOnce(t *testing.T) {
	l := newLab(t)
	must(t, l.InitGate(t.Context()))
	out, err := l.Gate().Gatelodge(t.Context(), "gate", "invite", "attic")
	must(t, err)
	invite := strings.TrimSpace(out)
	contains(t, refuses(t, l.Gate(), 1, "gate", "invite", "attic"), "invited already", "gate revoke attic")

	_, err = l.Home().Gatelodge(t.Context(), "join", strings.ToLower(invite), "--no-start")
	must(t, err)
	contains(t, refuses(t, l.Home2(), 1, "join", invite, "--no-start"), "the invite has been used already")
	contains(t, refuses(t, l.Home(), 1, "join", invite, "--no-start"), "this machine is the home attic of a gate already")
	contains(t, refuses(t, l.Gate(), 1, "join", invite), "this machine is a gate")
	// One that ended before it had written the configuration is completed.
	must(t, os.Remove(homeFile(l)))
	contains(t, gatelodge(t, l.Home(), "join", invite, "--no-start"), "joined as attic")
	must(t, l.Home().Start())
	must(t, l.Home().Ready(t.Context()))

	mistyped := []byte(invite)
	mistyped[6] = map[bool]byte{true: '8', false: '9'}[mistyped[6] == '9']
	contains(t, refuses(t, l.Home2(), 2, "join", string(mistyped), "--no-start"), "group 1")
}

func TestJoinRefusesATunnelThatOverlapsTheLAN(t *testing.T) {
	l := newLab(t)
	_, err := l.Gate().Gatelodge(t.Context(), "gate", "init", "--yes", "--no-start", "--prefix", "192.168.1.0/24")
	must(t, err)
	must(t, l.Gate().Start())
	must(t, l.Gate().Ready(t.Context()))
	invite, err := l.Gate().Gatelodge(t.Context(), "gate", "invite", "home")
	must(t, err)
	before := snapshot(t, l.Home())
	contains(t, refuses(t, l.Home(), 1, "join", strings.TrimSpace(invite)), "192.168.1.0/24 overlaps", "eth0", "prefix4")
	compare(t, "home", before, snapshot(t, l.Home()))
	for _, made := range []string{"etc/gatelodge", "var/lib/gatelodge"} {
		if _, err := os.Stat(filepath.Join(l.Home().Root(), made)); err == nil {
			t.Errorf("%s was made", made)
		}
	}
	// The invite is not spent: another home can use it.
	_, err = l.Home2().Gatelodge(t.Context(), "join", strings.TrimSpace(invite), "--no-start")
	must(t, err)
}

func TestAWrongFileLeavesTheLastGoodOneInForce(t *testing.T) {
	l := newJoinedLab(t)
	file := filepath.Join(l.Home().Root(), "etc/gatelodge/home.toml")
	good, err := os.ReadFile(file)
	must(t, err)
	appendTo(t, file, "\n[forward.more]\nports = [\"0\"]\ncolour = \"red\"\n")
	text := refuses(t, l.Home(), 1, "apply")
	contains(t, text, "home.toml:", "port 0 does not exist", "colour")
	contains(t, refuses(t, l.Home(), 1, "check"), "port 0 does not exist")
	reachable(t, l)
	must(t, os.WriteFile(file, good, 0o644))
	_, err = l.Home().Gatelodge(t.Context(), "apply")
	must(t, err)
	out, err := l.Home().Gatelodge(t.Context(), "plan")
	must(t, err)
	contains(t, out, "nothing to change")
}

func TestPlanShowsWhatApplyDoes(t *testing.T) {
	l := newJoinedLab(t)
	file := filepath.Join(l.Gate().Root(), "etc/gatelodge/gate.toml")
	appendTo(t, file, "\n[home.home]\nports = [\"80/tcp\"]\n")
	out, err := l.Gate().Gatelodge(t.Context(), "plan")
	exit, ok := errors.AsType[*lab.ExitError](err)
	if !ok || exit.Status != 3 {
		t.Errorf("plan: %v, not exit status 3", err)
	}
	contains(t, out, "\n"+`this ends echo of home "home": 7000/tcp 7000/udp (the gate's policy does not allow 7000/tcp, 7000/udp for this home)`+"\n")
	// Nobody can be asked here, so nothing happens.
	contains(t, refuses(t, l.Gate(), 2, "apply"), "there is nobody to ask", "add --yes")
	contains(t, refuses(t, l.Gate(), 2, "apply", "--json"), "add --yes")
	reachable(t, l)
	_, err = l.Gate().Gatelodge(t.Context(), "apply", "--yes")
	must(t, err)
	silent(t, l, forward.TCP, netip.AddrPortFrom(l.Gate().IPv4, portEcho))
	contains(t, l.Gate().Log(), `msg="a forward is published no longer" home=home forward=echo ports="7000/tcp 7000/udp"`)
}

// A forward that asks for a port which the gate refuses keeps what it has, and the
// connections that pass through it, over a restart of the gate too.
func TestARefusedPortTakesNothingDown(t *testing.T) {
	l := newJoinedLab(t)
	c, err := l.Visitor().Dial(t.Context(), "tcp", netip.AddrPortFrom(l.Gate().IPv4, portEcho).String())
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(time.Minute)))
	read(t, c)
	file := homeFile(l)
	good := readFile(t, file)
	grown := strings.Replace(good, `ports = ["7000"]`, `ports = ["7000", "2222/tcp"]`, 1)
	if grown == good {
		t.Fatalf("no port to change in\n%s", good)
	}
	must(t, os.WriteFile(file, []byte(grown), 0o644))
	stays := "2222/tcp (ssh) itself; publish 7000/tcp, 7000/udp instead; echo stays as it was (7000/tcp, 7000/udp)"
	contains(t, refuses(t, l.Home(), 1, "apply"), "the gate refuses echo: the gate needs "+stays)
	contains(t, report(t, l.Home(), "--json"), `"state": "refused"`, stays)
	contains(t, report(t, l.Gate(), "--json"), `"state": "refused"`, stays)
	_, err = c.Write([]byte("still here\n"))
	must(t, err)
	read(t, c)
	reachable(t, l)
	must(t, l.Gate().Kill())
	must(t, l.Gate().Start())
	must(t, l.Gate().Ready(t.Context()))
	reachable(t, l)
	must(t, os.WriteFile(file, []byte(good), 0o644))
	gatelodge(t, l.Home(), "apply")
	reachable(t, l)
	contains(t, report(t, l.Home(), "--json"), `"state": "granted"`)
}

func TestADamagedStateFileIsSetAside(t *testing.T) {
	l := newJoinedLab(t)
	for _, h := range []*lab.Host{l.Gate(), l.Home()} {
		must(t, h.Stop(t.Context()))
		state := filepath.Join(h.Root(), "var/lib/gatelodge")
		name := filepath.Join(state, h.Name+".json")
		must(t, os.Truncate(name, 20))
		must(t, h.Start())
		must(t, h.Ready(t.Context()))
		aside, err := filepath.Glob(filepath.Join(state, h.Name+".json.damaged-*"))
		must(t, err)
		if len(aside) != 1 {
			t.Errorf("%s: the damaged file was not set aside: %v", h.Name, aside)
		}
		contains(t, h.Log(), "damaged")
		reachable(t, l)
	}
}

// A sender that never pauses must reach a forward that is published while it
// sends, and must stop reaching it once it is no longer published.
func TestAForwardReachesARunningUDPSender(t *testing.T) {
	l := newLab(t)
	must(t, l.InitGate(t.Context()))
	must(t, l.Join(t.Context(), l.Home()))
	must(t, os.WriteFile(filepath.Join(l.Gate().Root(), "etc/gatelodge/gate.toml"),
		[]byte(strings.Replace(readFile(t, filepath.Join(l.Gate().Root(), "etc/gatelodge/gate.toml")), `input = "protect"`, `input = "leave"`, 1)), 0o644))
	_, err := l.Gate().Gatelodge(t.Context(), "apply")
	must(t, err)
	c, err := l.Visitor().Dial(t.Context(), "udp", netip.AddrPortFrom(l.Gate().IPv4, portEcho).String())
	must(t, err)
	defer c.Close()
	send := func() bool {
		_, _ = c.Write([]byte("anybody?\n")) // may report an earlier refusal
		must(t, c.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
		n, err := c.Read(make([]byte, 100))
		return err == nil && n > 0
	}
	for range 10 {
		if send() {
			t.Fatal("an answer before the forward is published")
		}
	}
	must(t, l.Home().Expose(t.Context(), "7000/udp", "--name", "echo"))
	eventually(t, "the sender's first answer", func(context.Context) error {
		if !send() {
			return errors.New("no answer")
		}
		return nil
	})
	_, err = l.Home().Gatelodge(t.Context(), "unexpose", "echo")
	must(t, err)
	for range 10 {
		if send() {
			t.Fatal("an answer after the forward is gone")
		}
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	must(t, err)
	return string(b)
}
