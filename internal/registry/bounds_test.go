package registry

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/control"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/store"
)

// taker is a gate that grants what it can to its one home, and keeps it on disk.
type taker struct {
	state *State
	store *store.Store
}

func (g *taker) Enrol(context.Context, netip.Addr, key.Secret, key.Public) (control.EnrolResponse, error) {
	panic("not in this test")
}

func (g *taker) Push(_ context.Context, _ netip.Addr, generation uint64, list []forward.Published) (control.PushResponse, error) {
	p := permitted
	p.Reserved, p.MaxForwards = nil, forward.MaxForwards
	verdicts, err := g.state.Push("attic", generation, list, p)
	if err != nil {
		return control.PushResponse{}, err
	}
	answer := control.PushResponse{Generation: generation}
	for _, v := range verdicts {
		state := control.Refused
		if v.Granted {
			state = control.Granted
		}
		answer.Verdicts = append(answer.Verdicts, control.Verdict{Name: v.Name, State: state, Reason: v.Reason, Notes: v.Notes})
	}
	return answer, g.store.Save("gate", g.state)
}

func (g *taker) State(context.Context, netip.Addr) (control.StateResponse, error) {
	panic("not in this test")
}

// carry takes a home.toml all the way: what is valid in the file is sent, read,
// granted, and found again on the gate's disk.
func carry(t testing.TB, dir, text string) error {
	home, err := config.ParseHome("home.toml", []byte(text))
	if err != nil {
		return err
	}
	var list []forward.Published
	for _, f := range home.Forwards {
		list = append(list, f.Published())
	}
	st, err := store.Open(filepath.Join(dir, "state"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }() // it is only read from here on
	g := &taker{state: New(), store: st}
	enrol(t, g.state, "attic", 1)
	server := httptest.NewServer(control.NewServer(g, slog.New(slog.DiscardHandler)))
	defer server.Close()
	c := control.NewClient(netip.MustParseAddrPort(server.Listener.Addr().String()), new(net.Dialer).DialContext)
	defer c.Close()
	answer, err := c.Push(t.Context(), 1, list)
	if err != nil {
		t.Fatalf("check calls it valid, and the wire does not: %v", err)
	}
	for _, v := range answer.Verdicts {
		if v.State != control.Granted {
			t.Fatalf("check calls it valid, and the gate does not grant %s: %s", v.Name, v.Reason)
		}
	}
	var kept State
	if _, err := st.Load("gate", &kept); err != nil {
		t.Fatalf("the gate does not find it again: %v", err)
	}
	if err := kept.Check(gate); err != nil {
		t.Fatalf("the gate does not believe what it has kept: %v", err)
	}
	if control.Digest(list) != control.Digest(kept.Homes[0].Wanted()) {
		t.Fatal("the gate has kept something else")
	}
	return nil
}

// shape is how many ranges of ports and allowed prefixes a forward has.
type shape struct{ ranges, allow int }

// file writes a home.toml with such forwards.
func file(shapes ...shape) string {
	var b strings.Builder
	b.WriteString("version = 1\n")
	port := 1
	for i, s := range shapes {
		fmt.Fprintf(&b, "[forward.%s%06d]\nports = [", strings.Repeat("f", 34), i)
		for range s.ranges {
			fmt.Fprintf(&b, `"%d/udp", `, port)
			port += 2
		}
		b.WriteString("]\n")
		if s.allow > 0 {
			b.WriteString("allow = [")
			for k := range s.allow {
				fmt.Fprintf(&b, `"2001:db8:1111:1111:1111:1111:%x:1111", `, 0x1000+k)
			}
			b.WriteString("]\n")
		}
		b.WriteString("limit = { new_connections = \"1000000/second\", connections = 1000000 }\n")
	}
	return b.String()
}

func alike(n int, s shape) string { return file(slices.Repeat([]shape{s}, n)...) }

// At each of the bounds, and at the largest list that check lets pass, nobody
// refuses what the file was told to be right.
func TestWhatCheckCallsValidIsTaken(t *testing.T) {
	for name, text := range map[string]string{
		"forwards": alike(forward.MaxForwards, shape{1, 0}),
		"ports":    alike(3, shape{forward.MaxPorts, 0}),
		"allow":    alike(3, shape{1, forward.MaxAllow}),
	} {
		t.Run(name, func(t *testing.T) {
			if err := carry(t, t.TempDir(), text); err != nil {
				t.Errorf("check refuses what is within the bounds: %v", err)
			}
		})
	}
	for name, grow := range map[string]func(n int) string{
		"prefixes in all": func(n int) string {
			return file(append(slices.Repeat([]shape{{1, 256}}, n/256), shape{1, 1 + n%256})...)
		},
		"ports in all": func(n int) string {
			return file(append(slices.Repeat([]shape{{64, 20}}, n/64), shape{1 + n%64, 20})...)
		},
	} {
		t.Run(name, func(t *testing.T) { carryLargest(t, grow) })
	}
}

// carryLargest carries the largest list that check lets pass, and the smallest
// that it does not is refused by it.
func carryLargest(t *testing.T, grow func(n int) string) {
	low, high := 0, 1<<14
	valid := func(n int) bool {
		_, err := config.ParseHome("home.toml", []byte(grow(n)))
		return err == nil
	}
	if !valid(low) || valid(high) {
		t.Fatal("the bound is not in between")
	}
	for low+1 < high {
		if middle := (low + high) / 2; valid(middle) {
			low = middle
		} else {
			high = middle
		}
	}
	if err := carry(t, t.TempDir(), grow(low)); err != nil {
		t.Error(err)
	}
}

// The same of any file that check calls valid.
func TestWhateverCheckCallsValidIsTaken(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(r *rapid.T) {
		shapes := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) shape {
			return shape{rapid.IntRange(1, 70).Draw(r, "ranges"), rapid.IntRange(0, 260).Draw(r, "allow")}
		}), 1, 30).Draw(r, "shapes")
		text := file(shapes...)
		if err := carry(t, dir, text); err != nil && !strings.HasPrefix(err.Error(), "home.toml:") {
			r.Fatalf("no place in the file: %v", err)
		}
	})
}
