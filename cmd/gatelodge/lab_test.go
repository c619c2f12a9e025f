package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/lab"
	"github.com/gatelodge/gatelodge/internal/lab/demo"
)

// portEcho is the port of the echo services that the lab's hosts run and that
// these tests publish.
const portEcho = 7000

// labs counts the labs made, for their names.
var labs atomic.Int32

// newLab makes a lab of the test's own. Those who have one mostly wait, so they
// run beside each other.
func newLab(t *testing.T) *lab.Lab {
	t.Helper()
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l, err := lab.New(t.Context(), lab.Options{Binary: self, Env: []string{envProgram + "=1"}, Prefix: fmt.Sprintf("%d-", labs.Add(1))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, h := range []*lab.Host{l.Gate(), l.Home()} {
				t.Logf("log of %s:\n%s", h.Name, strings.Join(h.LogTail(40), "\n"))
			}
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func newJoinedLab(t *testing.T) *lab.Lab {
	t.Helper()
	l := newLab(t)
	must(t, l.InitGate(t.Context()))
	must(t, l.Join(t.Context(), l.Home()))
	must(t, l.Home().Expose(t.Context(), "7000", "--name", "echo"))
	reachable(t, l)
	return l
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a condition, for as long as outages may last.
func eventually(t *testing.T, what string, try func(ctx context.Context) error) {
	t.Helper()
	const patience = 60 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within %s: %v", what, patience, err)
		}
	}
}

// reachable waits until a visitor reaches the echo over TCP and UDP, IPv4 and
// IPv6, and the echo sees the visitor's own address.
func reachable(t *testing.T, l *lab.Lab) {
	t.Helper()
	for _, gate := range []netip.Addr{l.Gate().IPv4, l.Gate().IPv6} {
		at := netip.AddrPortFrom(gate, portEcho)
		eventually(t, "TCP at "+at.String(), func(ctx context.Context) error { return saw(l, gate)(lab.ProbeTCP(ctx, l.Visitor(), at)) })
		eventually(t, "UDP at "+at.String(), func(ctx context.Context) error { return saw(l, gate)(lab.ProbeUDP(ctx, l.Visitor(), at)) })
	}
}

func saw(l *lab.Lab, gate netip.Addr) func(lab.Answer, error) error {
	visitor := l.Visitor().IPv6
	if gate.Is4() {
		visitor = l.Visitor().IPv4
	}
	return func(a lab.Answer, err error) error {
		if err == nil && a.Saw.Addr() != visitor {
			err = fmt.Errorf("the service saw %s, not the visitor's %s", a.Saw, visitor)
		}
		return err
	}
}

func silent(t *testing.T, l *lab.Lab, p forward.Protocol, at netip.AddrPort) {
	t.Helper()
	if err := lab.ProbeSilence(t.Context(), l.Visitor(), p, at, time.Second); err != nil {
		t.Error(err)
	}
}

// run returns what a program prints on a host.
func run(t *testing.T, h *lab.Host, args ...string) string {
	t.Helper()
	out, err := h.Run(t.Context(), args...)
	must(t, err)
	return out
}

func TestTheMainJob(t *testing.T) {
	l := newLab(t)
	report, err := demo.Run(t.Context(), l)
	must(t, err)
	if len(report.Results) < 40 {
		t.Errorf("only %d probes ran", len(report.Results))
	}
	for _, r := range report.Results {
		if !r.OK {
			t.Errorf("%+v", r)
		}
	}
}

func TestItComesBackByItself(t *testing.T) {
	l := newJoinedLab(t)
	restart := func(h *lab.Host) func(t *testing.T) {
		return func(t *testing.T) {
			must(t, h.Kill())
			must(t, h.Start())
		}
	}
	for _, outage := range []struct {
		name string
		do   func(t *testing.T)
	}{
		{"home's daemon killed", restart(l.Home())},
		{"gate's daemon killed", restart(l.Gate())},
		{"NAT forgot its mappings", func(t *testing.T) { must(t, l.FlushNAT(t.Context())) }},
		{"home's public address changed", func(t *testing.T) {
			must(t, l.ChangeAddress(t.Context(), "cgnat", netip.MustParseAddr("192.0.2.77")))
		}},
		{"UDP blocked for a while", func(t *testing.T) {
			must(t, l.BlockUDP(t.Context()))
			eventually(t, "home noticing", func(ctx context.Context) error {
				s, err := l.Home().Status(ctx)
				if err == nil && s.Works() {
					err = fmt.Errorf("the tunnel counts as up")
				}
				return err
			})
			must(t, l.UnblockUDP(t.Context()))
		}},
		{"home's table deleted by somebody", func(t *testing.T) { run(t, l.Home(), "nft", "delete", "table", "inet", "gatelodge") }},
		{"gate's ruleset flushed by somebody", func(t *testing.T) { run(t, l.Gate(), "nft", "flush", "ruleset") }},
		{"home's rules deleted by somebody", func(t *testing.T) { run(t, l.Home(), "ip", "rule", "del", "pref", "103") }},
		{"home's interface deleted by somebody", func(t *testing.T) { run(t, l.Home(), "ip", "link", "del", "gatelodge") }},
		{"gate's interface deleted by somebody", func(t *testing.T) { run(t, l.Gate(), "ip", "link", "del", "gatelodge") }},
		{"gate moved to its second address", func(t *testing.T) {
			moved := netip.MustParseAddr("198.51.100.7")
			appendTo(t, filepath.Join(l.Home().Root(), "etc/gatelodge/home.toml"), "\n[gate]\nendpoints = [\"198.51.100.1:55107\", \"198.51.100.7\"]\n")
			if _, err := l.Home().Gatelodge(t.Context(), "apply"); err != nil {
				t.Fatal(err)
			}
			must(t, l.ChangeAddress(t.Context(), "gate", moved))
		}},
	} {
		t.Run(outage.name, func(t *testing.T) {
			outage.do(t)
			start := time.Now()
			reachable(t, l)
			t.Logf("reachable again after %s", time.Since(start).Round(100*time.Millisecond))
		})
	}
}

func appendTo(t *testing.T, file, text string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteString(text)
	must(t, err)
	must(t, f.Close())
}

func TestAnOpenConnectionSurvivesRestartsOfBothDaemons(t *testing.T) {
	l := newJoinedLab(t)
	c, err := l.Visitor().Dial(t.Context(), "tcp", netip.AddrPortFrom(l.Gate().IPv4, portEcho).String())
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(time.Minute)))
	read(t, c) // what the service saw
	for _, h := range []*lab.Host{l.Gate(), l.Home()} {
		echo(t, c, "before")
		must(t, h.Kill())
		must(t, h.Start())
		echo(t, c, "after the death of "+h.Name)
	}
}

// firewalld, started on a gate that works, lets in what it knows and forwards
// what is for us. The home, which the gate's daemon no longer answers, must not
// give up a tunnel that carries visitors.
func TestAFirewallThatComesLaterCutsNobodyOff(t *testing.T) {
	l := newJoinedLab(t)
	at := netip.AddrPortFrom(l.Gate().IPv4, portEcho)
	c, err := l.Visitor().Dial(t.Context(), "tcp", at.String())
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(2*time.Minute)))
	read(t, c)
	rules, err := filepath.Abs("../../internal/host/firewall/testdata/foreign/firewalld.nft")
	must(t, err)
	run(t, l.Gate(), "nft", "-f", rules)
	eventually(t, "home saying what is lost", func(ctx context.Context) error {
		s, err := l.Home().Status(ctx)
		if said := strings.Join(s.Problems, "; "); err == nil && (s.Works() || !strings.Contains(said, "a firewall on the gate drops it")) {
			err = fmt.Errorf("it says %q", said)
		}
		return err
	})
	// Longer than any of the home's remedies waits.
	for range 30 {
		echo(t, c, "beside firewalld")
		_, err := lab.ProbeTCP(t.Context(), l.Visitor(), at)
		must(t, err)
		time.Sleep(time.Second)
	}
	run(t, l.Gate(), "nft", "delete", "table", "inet", "firewalld")
	eventually(t, "the gate answering", func(ctx context.Context) error {
		s, err := l.Home().Status(ctx)
		if err == nil && !s.Works() {
			err = errors.New("it does not")
		}
		return err
	})
	echo(t, c, "without firewalld")
}

func read(t *testing.T, c net.Conn) string {
	t.Helper()
	b := make([]byte, 1024)
	n, err := c.Read(b)
	must(t, err)
	return string(b[:n])
}

func echo(t *testing.T, c net.Conn, text string) {
	t.Helper()
	_, err := c.Write([]byte(text + "\n"))
	must(t, err)
	if got := read(t, c); !strings.Contains(got, text) {
		t.Fatalf("echo of %q is %q", text, got)
	}
}

func TestUnexposeCutsWhatPasses(t *testing.T) {
	l := newJoinedLab(t)
	c, err := l.Visitor().Dial(t.Context(), "tcp", netip.AddrPortFrom(l.Gate().IPv4, portEcho).String())
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	read(t, c)
	echo(t, c, "while it is published")
	_, err = l.Home().Gatelodge(t.Context(), "unexpose", "echo")
	must(t, err)
	must(t, c.SetDeadline(time.Now().Add(3*time.Second)))
	if _, err := c.Write([]byte("hello?\n")); err == nil {
		if _, err := c.Read(make([]byte, 100)); err == nil {
			t.Error("the connection lives on after unexpose")
		}
	}
	silent(t, l, forward.TCP, netip.AddrPortFrom(l.Gate().IPv4, portEcho))
	silent(t, l, forward.UDP, netip.AddrPortFrom(l.Gate().IPv4, portEcho))
}

// snapshot is all of a host's network that a program could have changed.
func snapshot(t *testing.T, h *lab.Host) []string {
	t.Helper()
	var lines []string
	for _, command := range []string{
		"nft -s list ruleset", "ip rule", "ip -6 rule", "ip route show table all", "ip -6 route show table all",
		"ip -br link", "ip -br addr", "sysctl -a",
	} {
		for line := range strings.Lines(run(t, h, strings.Fields(command)...)) {
			if volatile(line) {
				continue
			}
			lines = append(lines, command+": "+strings.TrimSpace(line))
		}
	}
	slices.Sort(lines)
	return lines
}

// volatile lines count what happens anyway (link-local addresses settle some
// time after a link comes up), or belong to the machine and not to the host's
// network.
func volatile(line string) bool {
	if strings.Contains(line, " = ") && !strings.HasPrefix(line, "net.") {
		return true
	}
	return slices.ContainsFunc([]string{"nf_conntrack_count", "expires ", "anycast", "multicast ff00", "local fe80::"}, func(s string) bool { return strings.Contains(line, s) })
}

func TestDownLeavesTheMachineAsItWasFound(t *testing.T) {
	l := newLab(t)
	hosts := []*lab.Host{l.Gate(), l.Home()}
	before := map[string][]string{}
	for _, h := range hosts {
		before[h.Name] = snapshot(t, h)
	}
	must(t, l.InitGate(t.Context()))
	must(t, l.Join(t.Context(), l.Home()))
	must(t, l.Home().Expose(t.Context(), "7000", "--name", "echo"))
	must(t, l.Home().Expose(t.Context(), "7002", "--name", "device", "--to", "192.168.1.20", "--source", "preserve"))
	reachable(t, l)
	for _, crash := range []bool{false, true} {
		for _, h := range hosts {
			if crash {
				must(t, h.Kill())
			}
			_, err := h.Gatelodge(t.Context(), "down")
			must(t, err)
			must(t, h.Stop(t.Context()))
			compare(t, fmt.Sprintf("%s, crashed: %v", h.Name, crash), before[h.Name], snapshot(t, h))
		}
		for _, h := range hosts {
			must(t, h.Start())
		}
		reachable(t, l)
	}
}

func compare(t *testing.T, what string, before, after []string) {
	t.Helper()
	for _, line := range after {
		if !slices.Contains(before, line) {
			t.Errorf("%s: left behind: %s", what, line)
		}
	}
	for _, line := range before {
		if !slices.Contains(after, line) {
			t.Errorf("%s: lost: %s", what, line)
		}
	}
}

// The gate has moved, and its name says where to: home must look it up again.
// Names of this test are in a hosts file of its own, which the mount namespace
// of the lab keeps from everybody else.
func TestTheGatesNameIsLookedUpAgain(t *testing.T) {
	hosts := filepath.Join(t.TempDir(), "hosts")
	point := func(at netip.Addr) {
		must(t, os.WriteFile(hosts, fmt.Appendf(nil, "%s gate.example\n", at), 0o644))
	}
	l := newJoinedLab(t)
	point(l.Gate().IPv4)
	must(t, unix.Mount(hosts, "/etc/hosts", "", unix.MS_BIND, ""))
	t.Cleanup(func() { must(t, unix.Unmount("/etc/hosts", unix.MNT_DETACH)) })
	appendTo(t, filepath.Join(l.Home().Root(), "etc/gatelodge/home.toml"), "\n[gate]\nendpoints = [\"gate.example\"]\n")
	_, err := l.Home().Gatelodge(t.Context(), "apply")
	must(t, err)
	must(t, l.ChangeAddress(t.Context(), "gate", netip.MustParseAddr("198.51.100.9")))
	point(l.Gate().IPv4)
	start := time.Now()
	reachable(t, l)
	t.Logf("reachable again after %s", time.Since(start).Round(100*time.Millisecond))
}
