package home

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatelodge/gatelodge/internal/control"
	"github.com/gatelodge/gatelodge/internal/event"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/membership"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/status"
	"github.com/gatelodge/gatelodge/internal/store"
	"github.com/gatelodge/gatelodge/internal/supervise"
)

// fakeGate is a gate as its homes see it: it takes numbers as the registry
// does, or lies.
type fakeGate struct {
	mu         sync.Mutex // guards all of it where several goroutines use it
	hung       bool
	mtu        int
	generation uint64
	held       []forward.Published
	// old has no window, as gates had before.
	old   bool
	state func(control.StateResponse) (control.StateResponse, error)
	push  func(control.PushResponse) (control.PushResponse, error)
}

func (g *fakeGate) Close() {}

// list returns what the gate holds.
func (g *fakeGate) list() []forward.Published {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.held
}

// lose has the gate forget what it holds, as one does that is set up again.
func (g *fakeGate) lose() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = nil
}

// answer has the gate say something else when it is asked.
func (g *fakeGate) answer(state func(control.StateResponse) (control.StateResponse, error)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.state = state
}

// hang has the gate answer nothing, and sayMTU what its tunnel's MTU is.
func (g *fakeGate) hang(hung bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hung = hung
}

func (g *fakeGate) sayMTU(mtu int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mtu = mtu
}

func (g *fakeGate) State(context.Context) (control.StateResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.hung {
		return control.StateResponse{}, control.ErrUnreachable
	}
	r := control.StateResponse{Name: "attic", MTU: g.mtu, Generation: g.generation, Digest: control.Digest(g.held), Verdicts: grants(g.held)}
	if g.state != nil {
		return g.state(r)
	}
	return r, nil
}

func (g *fakeGate) Push(_ context.Context, generation uint64, list []forward.Published) (control.PushResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.hung {
		return control.PushResponse{}, control.ErrUnreachable
	}
	taken := forward.Succeeds(g.generation, generation)
	if g.old {
		taken = generation >= g.generation
	}
	if !taken {
		return control.PushResponse{}, &control.Error{Code: control.Stale, Message: fmt.Sprintf("the gate has generation %d, and not %d", g.generation, generation)}
	}
	g.generation, g.held = generation, list
	r := control.PushResponse{Generation: generation, Verdicts: grants(list)}
	if g.push != nil {
		return g.push(r)
	}
	return r, nil
}

func grants(list []forward.Published) []control.Verdict {
	var verdicts []control.Verdict
	for _, p := range list {
		verdicts = append(verdicts, control.Verdict{Name: p.Name, State: control.Granted})
	}
	return verdicts
}

// homeOf returns the link of a home with a memory on disk and a tunnel that is up, that
// publishes some services at a gate. Its log goes to w.
func homeOf(t *testing.T, gate *fakeGate, w *bytes.Buffer, names ...string) *link {
	t.Helper()
	st, err := store.Open(filepath.Join(t.TempDir(), "state"), nil)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(w, nil))
	h := &link{log: log, events: event.Log{To: log}, store: st}
	for i, name := range names {
		mappings, err := forward.ParseMapping(fmt.Sprintf("%d/tcp", 7000+i))
		if err != nil {
			t.Fatal(err)
		}
		h.config.Forwards = append(h.config.Forwards, forward.Forward{Name: name, Mappings: mappings})
	}
	h.memory.Joined = &membership.Membership{
		Name: "attic", Addresses: []netip.Addr{netip.MustParseAddr("10.99.0.2")},
		GateAddresses: []netip.Addr{netip.MustParseAddr("10.99.0.1")}, ControlPort: 55108,
	}
	h.loop = supervise.NewLoop("home", time.Hour, h.events, nil)
	h.keep = newKeeper(h)
	h.keep.up = true
	h.push = newPusher(h)
	h.push.ask = func() publisher { return gate }
	return h
}

// Whatever a gate was told that its number is, by anybody who spoke for this home,
// and whatever it says itself, a home's next list counts at once.
func TestNoGenerationIsTheLast(t *testing.T) {
	for _, own := range []uint64{0, 1, 7, forward.MaxLead, forward.Unreachable, forward.Unreachable + 1, math.MaxUint64} {
		for _, theirs := range []uint64{0, 1, 6, 7, 8, forward.MaxLead, 1 << 40, forward.Unreachable - 1, forward.Unreachable, forward.Unreachable + 1, math.MaxUint64 - 1, math.MaxUint64} {
			gate := &fakeGate{generation: theirs}
			h := homeOf(t, gate, new(bytes.Buffer), "web")
			h.memory.Generation = own
			for round := range 3 { // and it goes on from there
				gate.held = nil
				if err := h.push.round(t.Context()); err != nil {
					t.Errorf("own %d, theirs %d, round %d: %v", own, theirs, round, err)
				}
			}
			if got := h.memory.Generation; got != gate.generation || got == 0 {
				t.Errorf("own %d, theirs %d: the gate has %d, home remembers %d", own, theirs, gate.generation, got)
			}
			if p := h.push.problems(); p != nil {
				t.Errorf("own %d, theirs %d: %v", own, theirs, p)
			}
		}
	}
}

// What counts as granted is what the gate has granted of the list that it
// holds, and the home looks at itself again when that changes.
func TestWhatTheGateHasGranted(t *testing.T) {
	gate := &fakeGate{}
	h := homeOf(t, gate, new(bytes.Buffer), "web", "game")
	kicked := h.loop.Kicked
	round := func(want ...string) {
		t.Helper()
		before := h.push.granted(h.published())
		if err := h.push.round(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := h.push.granted(h.published())
		if !slices.Equal(got, want) {
			t.Errorf("granted: %q, want %q", got, want)
		}
		if changed := !slices.Equal(before, got); kicked() != changed {
			t.Errorf("%q to %q: the home looks at itself: %t", before, got, !changed)
		}
	}
	if got := h.push.granted(h.published()); got != nil {
		t.Errorf("granted before the gate has answered: %q", got)
	}
	round("web", "game")
	round("web", "game")
	gate.state = func(r control.StateResponse) (control.StateResponse, error) {
		r.Verdicts[1].State = control.Refused
		return r, nil
	}
	round("web")
	other := h.published()
	other[0].Ports = nil
	if got := h.push.granted(other); got != nil {
		t.Errorf("granted with ports that the gate does not know: %q", got)
	}
}

// A gate that lies about its number once does not spoil the next gate, nor
// itself.
func TestALyingGateDoesNotSpoilTheNumbers(t *testing.T) {
	lie := uint64(math.MaxUint64)
	gate := &fakeGate{generation: 5}
	gate.state = func(r control.StateResponse) (control.StateResponse, error) {
		r.Generation = lie
		return r, nil
	}
	h := homeOf(t, gate, new(bytes.Buffer), "web")
	for _, lie = range []uint64{math.MaxUint64, forward.Unreachable, forward.Unreachable - 1, 0, 1 << 62} {
		gate.held = nil
		_ = h.push.round(t.Context()) // it may be refused: the number was a lie
	}
	gate.state, gate.held = nil, nil
	if err := h.push.round(t.Context()); err != nil {
		t.Error(err)
	}
	honest := &fakeGate{generation: 3}
	h.push.ask = func() publisher { return honest }
	if err := h.push.round(t.Context()); err != nil || h.memory.Generation != honest.generation {
		t.Errorf("at another gate: %v, generation %d", err, h.memory.Generation)
	}
}

// A gate that will not take the list is a problem that status shows, with what
// to do, and no forward counts as granted meanwhile.
func TestAStaleListIsAProblem(t *testing.T) {
	gate := &fakeGate{}
	h := homeOf(t, gate, new(bytes.Buffer), "db")
	if err := h.push.round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s, _ := h.push.verdict("db"); s != status.Granted {
		t.Fatalf("db is %s", s)
	}
	// Somebody else speaks for this home, to a gate without the window.
	gate.old, gate.generation, gate.held = true, math.MaxUint64, nil
	if err := h.push.round(t.Context()); err == nil {
		t.Error("no error")
	}
	problems := strings.Join(h.push.problems(), "\n")
	for _, want := range []string{"generation 18446744073709551615", "copy of this home's key", "gatelodge gate revoke"} {
		if !strings.Contains(problems, want) {
			t.Errorf("problems %q lack %q", problems, want)
		}
	}
	if s, why := h.push.verdict("db"); s != status.Pending || !strings.Contains(why, "generation") {
		t.Errorf("db is %s, %q", s, why)
	}
	if !isClosed(h.push.answered) {
		t.Error("a caller that waits for the gate's answer still waits")
	}
	gate.old, gate.generation = false, 9
	if err := h.push.round(t.Context()); err != nil || h.push.problems() != nil {
		t.Errorf("after that: %v, %v", err, h.push.problems())
	}
}

// Every failure to publish is in status as long as it lasts, no matter who causes it.
func TestNoFailureToPublishIsSwallowed(t *testing.T) {
	for _, code := range []control.Code{control.TooOften, control.Internal, control.UnknownHome, control.BadAnswer, control.Stale} {
		gate := &fakeGate{}
		gate.state = func(r control.StateResponse) (control.StateResponse, error) {
			return r, &control.Error{Code: code, Message: "because of " + string(code)}
		}
		h := homeOf(t, gate, new(bytes.Buffer), "db")
		if err := h.push.round(t.Context()); err == nil {
			t.Errorf("%s: no error", code)
		}
		if p := strings.Join(h.push.problems(), ""); !strings.Contains(p, string(code)) {
			t.Errorf("%s: problems %q", code, p)
		}
		h.keep.up = false // then that is what matters
		if err := h.push.round(t.Context()); err != nil || h.push.problems() != nil {
			t.Errorf("%s, without a tunnel: %v, %v", code, err, h.push.problems())
		}
	}
}

// A gate speaks of what was pushed, or not at all.
func TestVerdictsOnOtherForwardsAreRefused(t *testing.T) {
	for name, verdicts := range map[string][]control.Verdict{
		"another": {{Name: "evil", State: control.Granted}},
		"more":    {{Name: "db", State: control.Granted}, {Name: "evil", State: control.Granted}},
		"twice":   {{Name: "db", State: control.Granted}, {Name: "db", State: control.Refused}},
		"none":    nil,
	} {
		gate := &fakeGate{}
		h := homeOf(t, gate, new(bytes.Buffer), "db")
		gate.held = h.published()
		gate.state = func(r control.StateResponse) (control.StateResponse, error) {
			r.Verdicts = verdicts
			return r, nil
		}
		if err := h.push.round(t.Context()); err == nil {
			t.Errorf("%s: no error", name)
		}
		if s, _ := h.push.verdict("evil"); s != status.Pending {
			t.Errorf("%s: evil is %s", name, s)
		}
	}
}

// A gate that says something else whenever it is asked cannot fill the log,
// whatever kind of line it is that it causes.
func TestAGateCannotFillTheLog(t *testing.T) {
	var n atomic.Int64
	names := make([]string, 200)
	for i := range names {
		names[i] = fmt.Sprintf("forward-%d", i)
	}
	other := func() string { return fmt.Sprintf("%d %s", n.Add(1), strings.Repeat("x", 990)) }
	refused := func(code control.Code) error { return &control.Error{Code: code, Message: other()} }
	for name, state := range map[string]func(control.StateResponse) (control.StateResponse, error){
		"other reasons": func(r control.StateResponse) (control.StateResponse, error) {
			for i := range r.Verdicts {
				r.Verdicts[i].State, r.Verdicts[i].Reason = control.Refused, other()
			}
			return r, nil
		},
		"granted and refused": func(r control.StateResponse) (control.StateResponse, error) {
			for i := range r.Verdicts {
				r.Verdicts[i].Notes = []string{other()}
				if n.Add(1)%2 == 0 {
					r.Verdicts[i].State = control.Refused
				}
			}
			return r, nil
		},
		"other errors": func(r control.StateResponse) (control.StateResponse, error) { return r, refused(control.Internal) },
		"errors now and then": func(r control.StateResponse) (control.StateResponse, error) {
			if n.Add(1)%2 == 0 {
				return r, refused("some-code")
			}
			return r, nil
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			h := homeOf(t, &fakeGate{state: state}, &log, names...)
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			var flaps sync.WaitGroup
			flaps.Go(func() { // as when the tunnel comes and goes
				for ctx.Err() == nil {
					time.Sleep(time.Second)
					h.keep.silent()
					h.keep.note(other())
					h.keep.isUp()
				}
			})
			_ = h.push.loop.Run(ctx) // it ends with the hour
			flaps.Wait()
			lines := strings.Count(log.String(), "\n")
			t.Logf("%s: %d lines, %d KB in an hour", name, lines, log.Len()>>10)
			if log.Len() > 1<<20 || lines == 0 {
				t.Errorf("%s: %d lines, %d KB in an hour", name, lines, log.Len()>>10)
			}
			if !strings.Contains(log.String(), "lines_left_out") {
				t.Errorf("%s: nothing says that lines were left out", name)
			}
		})
	}
}

// A home takes the gate's MTU where that is smaller than its own, and its own
// again from a gate that does not say.
func TestAHomeTakesTheGatesSmallerMTU(t *testing.T) {
	mtu := 1380
	gate := &fakeGate{state: func(r control.StateResponse) (control.StateResponse, error) {
		r.MTU = mtu
		return r, nil
	}}
	h := homeOf(t, gate, new(bytes.Buffer), "web")
	facts := plan.Facts{UnderlayMTU: 1500}
	for _, want := range []int{1380, 1420} {
		if err := h.push.round(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := h.want(facts).WireGuard.MTU; got != want || !h.loop.Kicked() {
			t.Errorf("told %d: %d, want %d, and a kick", mtu, got, want)
		}
		mtu = 0
	}
}
