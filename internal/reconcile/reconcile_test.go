package reconcile

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatelodge/gatelodge/internal/consent"
	"github.com/gatelodge/gatelodge/internal/event"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/host/hosttest"
	"github.com/gatelodge/gatelodge/internal/key"
	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/plan"
)

var errNoNFT, home = errors.New("no nft"), key.Public{1}

// player is a Role that does as a test says, and keeps what it is told.
type player struct {
	machine   *hosttest.Machine
	want      plan.State
	choices   []plan.Choice
	blind     error // why facts cannot be gathered
	unsettled error

	mu   sync.Mutex
	told []string // of what a round does
	last error    // how the last round ended
	list []event.Fact
}

func (p *player) say(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = append(p.told, what)
}

// Gather implements Role.
func (p *player) Gather(ctx context.Context) (plan.Facts, error) {
	p.say("gather")
	if p.blind != nil {
		return plan.Facts{}, p.blind
	}
	return p.machine.Facts(ctx, "gatelodge")
}

// Want implements Role.
func (p *player) Want(plan.Facts) plan.State { p.say("want"); return p.want }

// Choices implements Role.
func (p *player) Choices() []plan.Choice { return p.choices }

// Settle implements Role.
func (p *player) Settle(_ plan.State, _ []plan.Step, failed error) error {
	p.say(fmt.Sprint("settle after ", failed))
	return p.unsettled
}

// Publish implements Role.
func (p *player) Publish(_ plan.Facts, err error) { p.say("publish"); p.last = err }

// Stands implements Role.
func (p *player) Stands() { p.say("stands") }

// Record implements event.Recorder.
func (p *player) Record(f event.Fact) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, f)
}

// heard returns what the role was told since it was asked last.
func (p *player) heard() (told []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	told, p.told = p.told, nil
	return told
}

func newPlayer(t *testing.T) (*player, *Reconciler) {
	t.Helper()
	p := &player{machine: hosttest.New(hosttest.VPS())}
	p.want = plan.State{
		WireGuard: plan.WireGuard{Interface: "gatelodge", MTU: 1420, Peers: []plan.Peer{{PublicKey: home}}},
		Routing:   plan.Routing{Interface: "gatelodge", MTU: 1420, Addresses: []netip.Prefix{netip.MustParsePrefix("10.99.0.1/24")}},
		Firewall:  plan.Firewall{Table: "gatelodge", Gate: &plan.GateFirewall{Interface: "gatelodge"}},
	}
	others := consent.NewOthers(layout.Paths{Root: t.TempDir()}, p)
	return p, New(t.Context(), p, p.machine, others, p)
}

// A round gathers, plans, applies, settles and publishes, in this order, and says that
// the machine stands once it does.
func TestARound(t *testing.T) {
	p, r := newPlayer(t)
	changes, err := r.Round(t.Context())
	if err != nil || len(changes) == 0 || p.last != nil {
		t.Fatalf("it changed %v: %v", changes, err)
	}
	if got, want := p.heard(), []string{"gather", "want", "settle after <nil>", "publish", "stands"}; !slices.Equal(got, want) {
		t.Errorf("the role was told %q", got)
	}
	if seen := r.Seen(); !seen.Observed.WireGuard.Present || len(seen.Drift)+len(seen.Problems) > 0 {
		t.Errorf("it has seen %+v", seen)
	}
	if changes, err := r.Round(t.Context()); err != nil || len(changes) > 0 || len(p.list) == 0 {
		t.Errorf("another round changed %v: %v; %d facts were told", changes, err, len(p.list))
	}
}

// What goes wrong where ends a round where it must, and is seen afterwards.
func TestARoundThatFails(t *testing.T) {
	for _, c := range []struct {
		name  string
		wrong func(p *player)
		told  []string
		drift bool
		says  string // among the problems that are seen
	}{
		{"no facts", func(p *player) { p.blind = errNoNFT }, []string{"gather", "publish"}, false, ""},
		{"nothing is applied", func(p *player) { p.machine.Fail(hosttest.Apply, errNoNFT, 1) },
			[]string{"gather", "want", "settle after no nft", "publish"}, true, ""},
		{"flows are not settled", func(p *player) { p.unsettled = errNoNFT },
			[]string{"gather", "want", "settle after <nil>", "publish", "stands"}, false, ""},
		{"nor can it be looked at", func(p *player) {
			p.machine.Fail(hosttest.Apply, errNoNFT, 1)
			p.machine.Fail(hosttest.Diff, errors.New("no netlink"), 1)
		}, []string{"gather", "want", "settle after no nft", "publish"}, false, "no netlink"},
		{"nor the tunnel", func(p *player) {
			p.machine.Fail(hosttest.Apply, errNoNFT, 1)
			p.machine.Fail(hosttest.Glance, errors.New("no device"), 1)
		}, []string{"gather", "want", "settle after no nft", "publish"}, true, "cannot look at the tunnel: no device"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, r := newPlayer(t)
			c.wrong(p)
			if _, err := r.Round(t.Context()); !errors.Is(err, errNoNFT) || !errors.Is(p.last, errNoNFT) {
				t.Errorf("it ends with %v, and the role hears %v", err, p.last)
			}
			if got := p.heard(); !slices.Equal(got, c.told) {
				t.Errorf("the role was told %q, wanted %q", got, c.told)
			}
			seen := r.Seen()
			if len(seen.Drift) > 0 != c.drift || c.says != "" && !slices.Contains(seen.Problems, c.says) {
				t.Errorf("seen are the drift %v and the problems %q", seen.Drift, seen.Problems)
			}
			p.blind, p.unsettled = nil, nil
			if _, err := r.Round(t.Context()); err != nil {
				t.Error(err)
			}
			if seen := r.Seen(); len(seen.Drift)+len(seen.Problems) > 0 {
				t.Errorf("once all is well the drift is %v, and the problems are %q", seen.Drift, seen.Problems)
			}
		})
	}
}

// What the owner has decided is told with the change that it led to, and not by the
// first round of a process, which does not know what was before.
func TestWhatWasDecidedIsTold(t *testing.T) {
	p, r := newPlayer(t)
	p.choices = []plan.Choice{{Subject: "home attic"}}
	first, err := r.Round(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p.choices = []plan.Choice{{Subject: "home attic"}, {Subject: "home barn"}}
	p.machine.Fail(hosttest.Apply, errNoNFT, 1)
	if changes, err := r.Round(t.Context()); err == nil || len(changes) > 0 {
		t.Errorf("a round that failed tells %v, %v", changes, err)
	}
	second, err := r.Round(t.Context())
	if err != nil || len(second) != 1 || second[0].Subject != "home barn" {
		t.Errorf("then it tells %v, %v", second, err)
	}
	if slices.ContainsFunc(first, func(c plan.Change) bool { return c.Subject == "home attic" }) {
		t.Errorf("the first round tells %v", first)
	}
}

// Seen is young between two rounds, and asking for it looks at nothing.
func TestGlances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, r := newPlayer(t)
		go func() { _ = r.NewGlances(p).Run(t.Context()) }()
		time.Sleep(time.Minute)
		if n := p.machine.Count(hosttest.Glance) + p.machine.Count(hosttest.Counters); n > 0 {
			t.Errorf("%d looks before anything stands", n)
		}
		if _, err := r.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.machine.Hear(home, netip.MustParseAddrPort("203.0.113.7:1"), 100)
		p.machine.Do(func(w *hosttest.World) {
			w.Counters = host.Counters{}
			w.Counters.Totals.Closed.Packets = 7
		})
		time.Sleep(glancePause)
		synctest.Wait()
		seen := r.Seen()
		if age := time.Since(seen.At); age > glancePause || seen.Peer(home).ReceivedBytes != 100 || seen.Counters().Closed != 7 {
			t.Errorf("after %v it has seen %+v and %+v", age, seen.Peer(home), seen.Counters())
		}
		before := p.machine.Count(hosttest.Glance)
		for range 100 {
			r.Seen()
		}
		if p.machine.Count(hosttest.Glance) != before {
			t.Error("to ask is to look")
		}
		if _, err := r.Round(t.Context()); err != nil || r.Seen().Counters().Closed != 7 {
			t.Errorf("a round forgets what was counted: %v", err)
		}
	})
}

// Counters that take long to read are read so seldom that it costs little.
func TestCountersThatTakeLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, r := newPlayer(t)
		if _, err := r.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
		go func() { _ = r.NewGlances(p).Run(t.Context()) }()
		const takes, watched = time.Second, 10 * time.Minute
		for begin := time.Now(); time.Since(begin) < watched; {
			release, n := p.machine.Hang(hosttest.Counters), p.machine.Count(hosttest.Counters)
			for p.machine.Count(hosttest.Counters) == n && time.Since(begin) < watched {
				time.Sleep(glancePause / 4)
			}
			time.Sleep(takes)
			release()
			synctest.Wait()
		}
		if n := p.machine.Count(hosttest.Counters); n < 8 || n > int(watched/min(countShare*takes, longestCount))+2 {
			t.Errorf("they were read %d times in %v", n, watched)
		}
		if n := p.machine.Count(hosttest.Glance); n < int(watched/glancePause)/2 {
			t.Errorf("only %d glances in %v", n, watched)
		}
	})
}

// A doctor waits for a round that is under way, and not for one that hangs.
func TestADoctorDoesNotWaitForARoundThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, r := newPlayer(t)
		release := p.machine.Hang(hosttest.Apply)
		done := make(chan error, 1)
		go func() { _, err := r.Round(t.Context()); done <- err }()
		synctest.Wait()
		began := time.Now()
		if _, err := r.Examine(t.Context(), p.want); err == nil || time.Since(began) != stateTime {
			t.Errorf("after %v it says %v", time.Since(began), err)
		}
		looked := make(chan error, 1)
		go func() {
			seen, err := r.Examine(t.Context(), p.want)
			if len(seen.Drift)+len(seen.Problems) > 0 {
				err = fmt.Errorf("it sees a machine that is half way: %v, %q", seen.Drift, seen.Problems)
			}
			looked <- err
		}()
		time.Sleep(stateTime / 2)
		release()
		if err := errors.Join(<-done, <-looked); err != nil {
			t.Error(err)
		}
	})
}

// A preview changes nothing, and says whether anything stands.
func TestAPreview(t *testing.T) {
	p, r := newPlayer(t)
	look := func() (changes []plan.Change, fresh bool) {
		t.Helper()
		changes, fresh, err := r.Preview(t.Context(), p.want, []plan.Choice{{Subject: "home attic"}})
		if err != nil {
			t.Fatal(err)
		}
		return changes, fresh
	}
	if changes, fresh := look(); !fresh || len(changes) < 3 || p.machine.Count(hosttest.Apply) > 0 {
		t.Errorf("before the first round: %v, fresh %v", changes, fresh)
	}
	if _, err := r.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.machine.Do(func(w *hosttest.World) { w.Table = "" })
	if changes, fresh := look(); fresh || len(changes) == 0 {
		t.Errorf("when somebody has deleted the table: %v, fresh %v", changes, fresh)
	}
}
