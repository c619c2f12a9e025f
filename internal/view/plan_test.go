package view

import (
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/plan"
)

func changes() []plan.Change {
	return []plan.Change{
		{Kind: plan.Added, Subject: "forward game", After: "25565-25570/udp → 192.168.1.20, source masquerade, allow 203.0.113.0/24 198.51.100.0/24"},
		{Kind: plan.Altered, Subject: "forward web", Property: "limit", Before: "20/second", After: "50/second"},
		{Kind: plan.Altered, Subject: "forward web", Property: "ports", Before: "443/tcp", After: "443/tcp 443/udp"},
		{Kind: plan.Removed, Subject: "forward mail", Before: "25/tcp → this host"},
		{Kind: plan.Altered, Subject: "table inet gatelodge", Because: []string{"its contents have changed"}, Machine: true},
	}
}

func TestChanges(t *testing.T) {
	for columns, want := range map[int]string{
		0: `  + forward game 25565-25570/udp → 192.168.1.20, source masquerade, allow 203.0.113.0/24 198.51.100.0/24
  ~ forward web: limit 20/second → 50/second
  ~ forward web: ports 443/tcp → 443/tcp 443/udp
  - forward mail 25/tcp → this host
on this machine:
  ~ table inet gatelodge: its contents have changed`,
		60: `  + forward game 25565-25570/udp → 192.168.1.20, source
    masquerade, allow 203.0.113.0/24 198.51.100.0/24
  ~ forward web: limit 20/second → 50/second
  ~ forward web: ports 443/tcp → 443/tcp 443/udp
  - forward mail 25/tcp → this host
on this machine:
  ~ table inet gatelodge: its contents have changed`,
	} {
		if got := strings.Join(Changes(changes(), Style{Columns: columns}), "\n"); got != want {
			t.Errorf("in %d columns:\n%s", columns, got)
		}
	}
	if got := Changes(nil, Style{}); len(got) != 1 || got[0] != "nothing to change" {
		t.Errorf("%q", got)
	}
	coloured := strings.Join(Changes(changes(), Style{Colour: true}), "\n")
	for _, want := range []string{"\x1b[32m+ forward game", "\x1b[33m~ forward web", "\x1b[31m- forward mail", "\x1b[2m~ table"} {
		if !strings.Contains(coloured, want) {
			t.Errorf("no %q in %q", want, coloured)
		}
	}
}

func TestEnds(t *testing.T) {
	list := []plan.Ending{
		{Forward: "web", Home: "home", Ports: []string{"80/tcp", "443/tcp"}, Reason: "the gate's policy does not allow 443/tcp"},
		{Forward: "mail", Home: "home", Ports: []string{"25/tcp"}, Over: "IPv6"},
	}
	for _, c := range []struct {
		columns, most int
		want          string
	}{
		{0, 0, "this ends web of home \"home\": 80/tcp 443/tcp (the gate's policy does not allow 443/tcp)\nthis ends mail of home \"home\" over IPv6: 25/tcp"},
		{0, 1, "this ends web of home \"home\": 80/tcp 443/tcp (the gate's policy does not allow 443/tcp)\nand ends 1 more"},
		{60, 2, "this ends web of home \"home\": 80/tcp 443/tcp (the gate's\n  policy does not allow 443/tcp)\nthis ends mail of home \"home\" over IPv6: 25/tcp"},
	} {
		if got := strings.Join(Ends(list, c.most, Style{Columns: c.columns}), "\n"); got != c.want {
			t.Errorf("in %d columns, %d at most:\n%s", c.columns, c.most, got)
		}
	}
}

func TestSums(t *testing.T) {
	list := changes()
	if got := Sum(list); got != "1 to add, 1 to change, 1 to remove" {
		t.Error(got)
	}
	if got := Sum(list[4:]); got != "the file is as it was; 1 thing on this machine is not as it says" {
		t.Error(got)
	}
}
