package routing

import (
	"errors"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/lab/netns"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// part returns the lines of a dump that are about a routing table.
func part(dump, table string) string {
	var lines []string
	for line := range strings.Lines(dump) {
		if strings.Contains(line, "lookup "+table+" ") || strings.Contains(line, "table "+table+" ") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// settled checks that a new process of an instance sees nothing to do.
func settled(t *testing.T, ns *netns.Namespace, want plan.Routing) {
	t.Helper()
	within(t, ns, func() error {
		left, err := changes(open(t), want)
		if len(left) > 0 {
			t.Errorf("%s would do: %v", want.Interface, left)
		}
		return err
	})
}

func TestTwoHomesLiveSideBySide(t *testing.T) {
	ns := newHost(t, "link add one type bridge\nlink add two type bridge")
	one, two := home("one", 6700, 100, 0x10000000), home("two", 6701, 200, 0x30000000)
	bring(t, ns, one)
	alone := part(dumpOf(t, ns), "6700")
	bring(t, ns, two)
	settled(t, ns, one)
	settled(t, ns, two)
	within(t, ns, func() error { // a gate beside them, which has no rules
		seen, err := open(t).Observe(t.Context(), plan.Routing{Interface: "gate"})
		if len(seen.Rules) > 0 || len(seen.Routes) > 0 {
			t.Errorf("a gate takes for its own: %v %v", seen.Rules, seen.Routes)
		}
		return err
	})
	edited := home("two", 6900, 300, 0x30000000)
	bring(t, ns, edited)
	if stale := part(dumpOf(t, ns), "6701"); stale != "" {
		t.Errorf("after an edit there is still:\n%s", stale)
	}
	settled(t, ns, one)
	removeAll(t, ns, "two")
	if got := part(dumpOf(t, ns), "6700"); got != alone {
		t.Errorf("after the other has gone down:\n%s\nbefore it came:\n%s", got, alone)
	}
	removeAll(t, ns, "one")
	if left := dumpOf(t, ns); strings.Contains(left, "155") || strings.Contains(left, "0x10000000") {
		t.Errorf("after both are down:\n%s", left)
	}
}

// A process was killed, its interface deleted, and its table edited. What it has
// noted is all that tells its rules from those of another instance that is in the
// same state.
func TestACrashedInstanceKnowsItsOwn(t *testing.T) {
	ns := newHost(t, "link add one type bridge\nlink add two type bridge")
	bring(t, ns, home("one", 6700, 100, 0x10000000))
	bring(t, ns, home("two", 6701, 200, 0x30000000))
	ip(t, ns, "link del one\nlink del two")
	others := part(dumpOf(t, ns), "6700")
	if others == "" || part(dumpOf(t, ns), "6701") == "" {
		t.Fatal("the rules have gone with the interfaces")
	}
	ip(t, ns, "link add two type bridge")
	edited := home("two", 6900, 300, 0x30000000)
	within(t, ns, func() error {
		r := open(t)
		r.Remember(6701)
		list, err := changes(r, edited)
		for _, c := range list {
			err = errors.Join(err, apply(t.Context(), r, c))
		}
		return err
	})
	if stale := part(dumpOf(t, ns), "6701"); stale != "" {
		t.Errorf("stale:\n%s", stale)
	}
	within(t, ns, func() error {
		r := open(t)
		r.Remember(6701, 6900)
		_, err := r.Remove(t.Context(), "two")
		return err
	})
	if left := part(dumpOf(t, ns), "6900"); left != "" {
		t.Errorf("after down:\n%s", left)
	}
	if got := part(dumpOf(t, ns), "6700"); got != others {
		t.Errorf("the other's were:\n%s\nand are:\n%s", others, got)
	}
}

func TestInstancesDoNotShareWhatTheyUse(t *testing.T) {
	ns := newHost(t, "link add one type bridge\nlink add two type bridge")
	bring(t, ns, home("one", 6700, 100, 0x10000000))
	for name, c := range map[string]struct {
		want plan.Routing
		says string
	}{
		"table":    {home("two", 6700, 200, 0x30000000), "routing table 6700 leads to interface one"},
		"priority": {home("two", 6701, 100, 0x30000000), "a routing rule of interface one has priority 100"},
		"overlap":  {home("two", 6701, 98, 0x30000000), "a routing rule of interface one has priority 10"},
		"marks":    {home("two", 6701, 200, 0x10000000), "a routing rule of interface one is for packets with mark 0x"},
	} {
		within(t, ns, func() error {
			_, err := changes(open(t), c.want)
			if !errors.Is(err, ErrClash) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("the same %s: %v", name, err)
			}
			return nil
		})
	}
	settled(t, ns, home("one", 6700, 100, 0x10000000))
	// Its own, of the time before its interface was renamed, is no clash.
	within(t, ns, func() error {
		r := open(t)
		r.Remember(6700)
		_, err := changes(r, home("two", 6700, 100, 0x10000000))
		return err
	})
}
