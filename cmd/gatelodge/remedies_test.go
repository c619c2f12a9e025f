package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/lab"
)

// others is a careful owner's firewall on the gate, which loading it makes again.
const others = `
table inet other
delete table inet other
table inet other {
	chain passing { type filter hook forward priority 0; policy drop; }
}
`

func reload(t *testing.T, l *lab.Lab) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "others.nft")
	must(t, os.WriteFile(file, []byte(others), 0o644))
	run(t, l.Gate(), "nft", "-f", file)
}

// rulesOf lists another firewall's rules.
func rulesOf(t *testing.T, l *lab.Lab) string {
	t.Helper()
	return run(t, l.Gate(), "nft", "list", "table", "inet", "other")
}

func TestAnotherFirewallIsOpenedWithConsent(t *testing.T) {
	l := newJoinedLab(t)
	gate, at := l.Gate(), netip.AddrPortFrom(l.Gate().IPv4, portEcho)
	contains(t, refuses(t, gate, 2, "doctor", "--yes"), "--fix")
	out, err := gate.Gatelodge(t.Context(), "doctor", "--fix", "--yes")
	must(t, err)
	contains(t, out, "nothing is wrong")

	reload(t, l)
	before := rulesOf(t, l)
	eventually(t, "the gate knows who is in the way", func(context.Context) error {
		if status := report(t, gate); !strings.Contains(status, "table inet other") {
			return fmt.Errorf("its status: %s", status)
		}
		return nil
	})
	// Nobody is there to agree.
	contains(t, refuses(t, gate, 2, "doctor", "--fix"), "--yes")
	if now := rulesOf(t, l); now != before {
		t.Errorf("without consent, the rules of the other are now %s", now)
	}
	_, err = lab.ProbeTCP(t.Context(), l.Visitor(), at)
	if err == nil {
		t.Error("a visitor passes a firewall that drops everything")
	}

	contains(t, gatelodge(t, gate, "doctor", "--fix", "--yes"), "done: nft insert rule inet other passing", "nothing is wrong")
	reachable(t, l)
	contains(t, report(t, gate), "let through", "nft insert rule inet other passing")

	// Its owner loads it again: what was agreed to is restored, and said once.
	start := time.Now()
	reload(t, l)
	eventually(t, "the rule is back", func(context.Context) error {
		if now := rulesOf(t, l); !strings.Contains(now, `comment "gatelodge"`) {
			return fmt.Errorf("after %s it is not: %s", time.Since(start), now)
		}
		return nil
	})
	reachable(t, l)
	if n := strings.Count(gate.Log(), "another firewall had forgotten what it lets through"); n != 1 {
		t.Errorf("the log says it %d times", n)
	}

	// A list that somebody has spoiled runs nothing, and says what to do.
	list := filepath.Join(gate.Root(), "etc/gatelodge/remedies.json")
	good := readFile(t, list)
	must(t, os.WriteFile(list, []byte(strings.Replace(good, `"passing"`, `"passing; flush ruleset"`, 1)), 0o644))
	eventually(t, "the list is a problem", func(context.Context) error {
		s := report(t, gate)
		for _, part := range []string{"remedies.json", "is not a name", "by hand"} {
			if !strings.Contains(s, part) {
				return fmt.Errorf("%q is not in its status: %s", part, s)
			}
		}
		return nil
	})
	must(t, os.WriteFile(list, []byte(good), 0o644))

	contains(t, gatelodge(t, gate, "down"), "undid: nft insert rule inet other passing")
	if now := rulesOf(t, l); now != before {
		t.Errorf("after down, the rules of the other are\n%s\nand were\n%s", now, before)
	}
	if _, err := os.Stat(list); err == nil {
		t.Errorf("%s is still there", list)
	}
}

// What the owner has agreed to before there was any home holds for the visitors
// of those that come.
func TestConsentBeforeTheFirstHome(t *testing.T) {
	l := newLab(t)
	must(t, l.InitGate(t.Context()))
	gate := l.Gate()
	file := filepath.Join(t.TempDir(), "others.nft")
	const careful = "table ip other {\n" +
		"chain in { type filter hook input priority 0; ct state established,related accept; iif lo accept; meta l4proto icmp accept; tcp dport 2222 accept; reject; }\n" +
		"chain passing { type filter hook forward priority 0; reject; }\n}\n"
	must(t, os.WriteFile(file, []byte(careful), 0o644))
	run(t, gate, "nft", "-f", file)
	eventually(t, "the gate knows who is in the way", func(context.Context) error {
		status := report(t, gate)
		for _, want := range []string{"WireGuard's packets", "visitors of whatever a home will publish"} {
			if !strings.Contains(status, want) {
				return fmt.Errorf("its status: %s", status)
			}
		}
		return nil
	})
	contains(t, gatelodge(t, gate, "doctor", "--fix", "--yes"), "insert rule ip other in ", "insert rule ip other passing ")
	must(t, l.Join(t.Context(), l.Home()))
	must(t, l.Home().Expose(t.Context(), "7000", "--name", "echo"))
	reachable(t, l)
}
