package cli

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/remote"
)

func TestAHostNameMakesAName(t *testing.T) {
	for machine, want := range map[string]string{
		"attic": "attic", "Attic.example.org": "attic", "my_server": "my-server", "-x-": "x", "": "home", "日本": "home",
		strings.Repeat("long", 20): strings.Repeat("long", 8), "a-" + strings.Repeat("b", 29) + "-c": "a-" + strings.Repeat("b", 29),
	} {
		got := nameFrom(machine)
		if got != want {
			t.Errorf("%q makes %q, not %q", machine, got, want)
		}
		if err := forward.CheckName(got); err != nil {
			t.Error(err)
		}
	}
}

func TestTheLastHopIsNamed(t *testing.T) {
	for _, c := range []struct {
		sentOn  uint64
		visited bool
		hop     string
	}{{0, false, "never came as far as the gate"}, {3, false, "sent it on"}, {3, true, "on its way back"}} {
		if hop, hint := lostHop(c.sentOn, c.visited); !strings.Contains(hop, c.hop) || hint == "" {
			t.Errorf("%+v: %q, hint %q", c, hop, hint)
		}
	}
}

// What gatelodge says on the VPS is passed on as what it is.
func TestTheOtherSidesWordsArePassedOn(t *testing.T) {
	err := explainThere(&remote.ExitError{Status: 1, Said: "motd\ngatelodge: error: no room\ngatelodge: hint: make some\n"})
	code, hint := classify(err)
	if err.Error() != "on the VPS: no room" || hint != "on the VPS: make some" || code != exitFailed {
		t.Errorf("%v, hint %q, code %d", err, hint, code)
	}
	if err := explainThere(&remote.ExitError{Status: 127, Said: "sh: not found"}); err.Error() != "on the VPS: sh: not found" {
		t.Error(err)
	}
	if explainThere(nil) != nil {
		t.Error("an error out of nothing")
	}
}

func TestAllRefusalsAreShown(t *testing.T) {
	err := refused(remote.Verdict{Refusals: []remote.Refusal{{Why: "it is old", Hint: "upgrade"}, {Why: "it is full", Hint: "make room"}}})
	_, hint := classify(err)
	if strings.Count(err.Error(), "this VPS cannot be a gate: ") != 2 || hint != "upgrade; make room" {
		t.Errorf("%v, hint %q", err, hint)
	}
	if refused(remote.Verdict{}) != nil {
		t.Error("a refusal out of nothing")
	}
}

// What was made last goes first, and what cannot be taken back is said beside
// why it was to be.
func TestTakeBack(t *testing.T) {
	var order []string
	s := &setup{app: &app{out: io.Discard, errOut: io.Discard}}
	for _, name := range []string{"first", "second", "third"} {
		s.onFailure(name, func(ctx context.Context) error {
			order = append(order, name)
			if name == "second" {
				return errors.New("it sticks")
			}
			return ctx.Err()
		})
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	err := s.takeBack(stopped, fail(exitUnreachable, "try", "no answer"))
	code, hint := classify(err)
	if strings.Join(order, " ") != "third second first" || code != exitUnreachable || hint != "try" {
		t.Errorf("order %q, code %d, hint %q", order, code, hint)
	}
	for _, want := range []string{"no answer", "by hand: second: it sticks"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

func TestFamilies(t *testing.T) {
	for _, c := range []struct {
		addrs     string
		four, six bool
	}{
		{"192.168.1.10", true, false}, {"192.168.1.10 fd00::2", true, false}, {"192.168.1.10 fe80::2", true, false},
		{"2001:db8::2", false, true}, {"10.0.0.2 2001:db8::2", true, true}, {"", false, false},
	} {
		var addrs []netip.Addr
		for a := range strings.FieldsSeq(c.addrs) {
			addrs = append(addrs, netip.MustParseAddr(a))
		}
		if four, six := families(addrs); four != c.four || six != c.six {
			t.Errorf("%s: IPv4 %t, IPv6 %t", c.addrs, four, six)
		}
	}
}

// The service of the proof answers nobody but the visitor that it expects.
func TestTheWitnessKnowsItsVisitor(t *testing.T) {
	w, err := listenForProof()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), w.port)
	stranger := &witness{word: "stranger"}
	if _, err := stranger.visit(t.Context(), at); err == nil || w.wasVisited() {
		t.Errorf("a stranger is answered: %v", err)
	}
	seen, err := w.visit(t.Context(), at)
	if err != nil || seen != at.Addr() || !w.wasVisited() {
		t.Errorf("%v: seen as %s, visited %t", err, seen, w.wasVisited())
	}
}
