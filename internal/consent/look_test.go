package consent

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/event"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/host/foreign"
	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/plan"
)

// book is what the machine's rules say to its readers.
type book struct {
	generation uint32
	unnumbered error // why the kernel does not say its generation
	tables     []string
	unlisted   error // why those are not known
	drops      []host.OthersDrop
	unreadable error
	reads      int
	told       []string // kinds of facts
}

// Record implements event.Recorder.
func (b *book) Record(f event.Fact) { b.told = append(b.told, f.Line().Kind) }

func (b *book) read(context.Context, plan.State, plan.Facts) ([]host.OthersDrop, error) {
	b.reads++
	if b.unreadable != nil {
		return nil, b.unreadable
	}
	return b.drops, nil
}

func newBook(t *testing.T) (*book, *Others) {
	t.Helper()
	b := &book{generation: 1}
	o := NewOthers(layout.Paths{Root: t.TempDir()}, b)
	o.rules = rules{
		generation: func() (uint32, error) { return b.generation, b.unnumbered },
		legacy:     func() ([]string, error) { return b.tables, b.unlisted },
		drops:      b.read,
	}
	return b, o
}

func dropping(what string) host.OthersDrop {
	return host.OthersDrop{Family: "inet", Table: "other", Chain: "f", Rule: "drop", Packet: foreign.Packet{What: what, Hook: foreign.Forward}}
}

func look(t *testing.T, o *Others) string {
	t.Helper()
	o.Look(t.Context(), plan.State{}, plan.Facts{})
	return strings.Join(o.Last(), "; ")
}

// A read that fails is said: neither is the verdict from before kept as if it were
// today's, nor does it pass for a clear way. The next look reads again, though nothing
// has changed, and is told once.
func TestAReadThatFailsIsSaid(t *testing.T) {
	b, o := newBook(t)
	b.drops = []host.OthersDrop{dropping("what visitors send")}
	if says := look(t, o); !strings.Contains(says, "drops what visitors send") {
		t.Fatalf("it says %q", says)
	}
	b.generation, b.unreadable = 2, errors.New("no netlink")
	for range 2 {
		if says := look(t, o); !strings.Contains(says, "cannot read all rules of other firewalls") || !strings.Contains(says, "no netlink") || strings.Contains(says, "what visitors send") {
			t.Errorf("it says %q", says)
		}
	}
	if b.reads != 3 {
		t.Errorf("the rules were read %d times", b.reads)
	}
	b.drops, b.unreadable = nil, nil
	if says := look(t, o); says != "" || b.reads != 4 {
		t.Errorf("once they can be read it says %q, after %d reads", says, b.reads)
	}
	if want := []string{"firewall.in_the_way", "firewall.in_the_way", "firewall.clear"}; !slices.Equal(b.told, want) {
		t.Errorf("told was %q", b.told)
	}
}

// Rules are read again when they, or the networks, have changed, and where the kernel
// does not tell whether they have.
func TestWhenRulesAreReadAgain(t *testing.T) {
	network := plan.Facts{Networks: []plan.Network{{Interface: "eth1"}}}
	for _, c := range []struct {
		name   string
		change func(b *book)
		facts  plan.Facts
		again  bool
	}{
		{"nothing", func(*book) {}, plan.Facts{}, false},
		{"a rule", func(b *book) { b.generation++ }, plan.Facts{}, true},
		{"a network", func(*book) {}, network, true},
		{"iptables-legacy", func(b *book) { b.tables = []string{"filter"} }, plan.Facts{}, true},
		{"perhaps iptables-legacy", func(b *book) { b.unlisted = errors.New("no") }, plan.Facts{}, true},
		{"no generation", func(b *book) { b.unnumbered = errors.New("no") }, plan.Facts{}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, o := newBook(t)
			look(t, o)
			c.change(b)
			o.Look(t.Context(), plan.State{}, c.facts)
			if again := b.reads == 2; again != c.again {
				t.Errorf("the rules were read %d times", b.reads)
			}
		})
	}
}
