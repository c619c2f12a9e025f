package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/lab"
)

// initFrom runs gatelodge init on a home, with the lab's gate as its VPS.
func initFrom(t *testing.T, l *lab.Lab, home *lab.Host, name string, more ...string) (string, error) {
	t.Helper()
	must(t, l.LetSSHIn(home))
	t.Cleanup(func() { downIfUp(t, home) })
	args := []string{"init", "--yes", "--without-service", "--name", name, "--remote-root", l.Gate().Root(), "root@vps"}
	return home.Gatelodge(t.Context(), append(args, more...)...)
}

// downIfUp ends a daemon that the lab has not started itself.
func downIfUp(t *testing.T, h *lab.Host) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(h.Root(), "etc/gatelodge")); err != nil {
		return
	}
	if _, err := h.Gatelodge(context.Background(), "down"); err != nil {
		t.Error(err)
	}
}

func newInitLab(t *testing.T) *lab.Lab {
	t.Helper()
	l := newLab(t)
	t.Cleanup(func() { downIfUp(t, l.Gate()) })
	return l
}

func TestInitMakesAGateAndItsHomes(t *testing.T) {
	l := newInitLab(t)
	out, err := initFrom(t, l, l.Home(), "attic")
	must(t, err)
	t.Log(out)
	recorded(t, out)
	contains(t, out, "8/8", "the service saw the visitor's own address, 192.0.2.2", "next: gatelodge expose 443")
	if strings.Contains(out, "GL1-") {
		t.Error("the invite, a secret, is shown")
	}
	if text := readFile(t, filepath.Join(l.Home().Root(), "etc/gatelodge/home.toml")); strings.Contains(text, "proof") {
		t.Errorf("what proved the way is still published:\n%s", text)
	}
	must(t, l.Home().Expose(t.Context(), "7000", "--name", "echo"))
	reachable(t, l)

	contains(t, refuses(t, l.Home(), 1, "init", "--yes", "root@vps"), "this machine is a home already")
	_, err = initFrom(t, l, l.Home2(), "attic")
	if err == nil || !strings.Contains(err.Error(), "already has a home with the name attic") {
		t.Errorf("a second home of the same name: %v", err)
	}
	out, err = initFrom(t, l, l.Home2(), "cellar")
	must(t, err)
	contains(t, out, "it is one already", "saw the visitor's own address, 192.0.2.2")
	reachable(t, l)
}

// recorded fails if init says what the picture of it in the documents does not
// show; figures differ, and what it says of a machine.
func recorded(t *testing.T, out string) {
	t.Helper()
	const picture = "../../packaging/cast/testdata/init.transcript"
	figure := regexp.MustCompile(`[0-9]+(\.[0-9]+)?`)
	ofMachine := regexp.MustCompile(`^  (system|nftables|note|make it a home:) `)
	shown := figure.ReplaceAllString(readFile(t, picture), "0")
	for line := range strings.Lines(figure.ReplaceAllString(strings.NewReplacer("attic", "home", "root@vps", "root@198.51.100.1").Replace(out), "0")) {
		if !ofMachine.MatchString(line) && !strings.Contains(shown, strings.TrimSpace(line)) {
			t.Errorf("init says %q, which %s does not have: run make cast", line, picture)
		}
	}
}

func TestAnInitThatFailsLeavesNothing(t *testing.T) {
	l := newInitLab(t)
	run(t, l.Host("internet"), "nft", "add table inet blocked; add chain inet blocked drops { type filter hook forward priority 0; }; add rule inet blocked drops udp dport 55107 drop")
	gate, home := snapshot(t, l.Gate()), snapshot(t, l.Home())
	_, err := initFrom(t, l, l.Home(), "attic", "--endpoint", "198.51.100.1")
	exit, ok := errors.AsType[*lab.ExitError](err)
	if !ok || exit.Status != 5 {
		t.Fatalf("%v, not exit status 5", err)
	}
	contains(t, exit.Stderr, "step 7", "no answer from the gate", "provider's firewall")
	compare(t, "gate", gate, snapshot(t, l.Gate()))
	compare(t, "home", home, snapshot(t, l.Home()))
	for _, h := range []*lab.Host{l.Gate(), l.Home()} {
		left, err := filepath.Glob(filepath.Join(h.Root(), "*/*/gatelodge*"))
		must(t, err)
		if len(left) > 0 {
			t.Errorf("%s: left behind: %v", h.Name, left)
		}
	}
	run(t, l.Host("internet"), "nft", "delete table inet blocked")
	_, err = initFrom(t, l, l.Home(), "attic")
	must(t, err)
}

// A provider's firewall that lets only WireGuard in keeps visitors out. All
// stays set up: it is the owner's to open.
func TestInitNamesTheHopWhereVisitorsEnd(t *testing.T) {
	l := newInitLab(t)
	run(t, l.Host("internet"), "nft", "add table inet provider; add chain inet provider drops { type filter hook forward priority 0; }; add rule inet provider drops oifname gate tcp dport != 2222 drop")
	_, err := initFrom(t, l, l.Home(), "attic")
	if err == nil {
		t.Fatal("visitors are kept out, and init says nothing")
	}
	contains(t, err.Error(), "step 8", "everything is set up and stays", "it never reached the gate", "provider's web console")
	run(t, l.Host("internet"), "nft", "delete table inet provider")
	must(t, l.Home().Expose(t.Context(), "7000", "--name", "echo"))
	reachable(t, l)
}

// A firewall of the home's own is told apart from one before the gate.
func TestInitNamesAFirewallAtHome(t *testing.T) {
	l := newInitLab(t)
	run(t, l.Home(), "nft", "add table inet mine; add chain inet mine drops { type filter hook input priority 10; }; add rule inet mine drops iifname gatelodge tcp dport != 55108 ct state new drop")
	_, err := initFrom(t, l, l.Home(), "attic")
	if err == nil {
		t.Fatal("visitors are kept out, and init says nothing")
	}
	contains(t, err.Error(), "step 8", "the gate got it and sent it on", "ufw allow in on gatelodge")
}
