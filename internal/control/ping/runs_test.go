package ping

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// asked is one ping of a home's run, and what it has to be told.
type asked struct {
	at      time.Duration
	by      uint64 // the run
	back    bool   // it has given way before
	giveWay bool
	several bool
}

func TestTheLatestRunHasTheTunnel(t *testing.T) {
	const a, b, c = 1, 2, 3
	for name, story := range map[string][]asked{
		"one": {{0, a, false, false, false}, {2 * time.Second, a, false, false, false}, {time.Hour, a, false, false, false}},
		"a restart, and another": {
			{0, a, false, false, false}, {time.Second, b, false, false, false}, {3 * time.Second, b, false, false, false},
			{4 * time.Second, c, false, false, false}, {6 * time.Second, c, false, false, false},
		},
		"two machines": {
			{0, a, false, false, false}, {time.Second, b, false, false, false},
			{2 * time.Second, a, false, true, true}, {3 * time.Second, b, false, false, true},
			{62 * time.Second, b, false, false, true}, {63 * time.Second, a, true, true, true},
		},
		"the later one ends, and comes back": {
			{0, a, false, false, false}, {time.Second, b, false, false, false}, {2 * time.Second, a, false, true, true},
			{12 * time.Second, a, true, false, false}, {14 * time.Second, a, true, false, false},
			{15 * time.Second, b, false, false, true}, {16 * time.Second, a, false, true, true},
		},
		"the gate starts again, and the earlier one asks last": {
			{0, b, false, false, false}, {time.Second, a, true, true, true}, {2 * time.Second, b, false, false, true},
		},
		"and first": {
			{0, a, true, false, false}, {time.Second, b, false, false, false}, {2 * time.Second, a, true, true, true},
		},
		"three machines": {
			{0, a, false, false, false}, {time.Second, b, false, false, false}, {2 * time.Second, c, false, false, false},
			{3 * time.Second, a, false, true, true}, {3 * time.Second, b, false, true, true}, {4 * time.Second, c, false, false, true},
		},
		"the earlier one ends": {
			{0, a, false, false, false}, {time.Second, b, false, false, false}, {2 * time.Second, a, false, true, true},
			{10 * time.Minute, b, false, false, true}, {12 * time.Minute, b, false, false, false},
		},
		"forgotten": {
			{0, a, false, false, false}, {time.Second, b, false, false, false}, {2 * time.Second, a, false, true, true},
			{16 * time.Minute, b, false, false, false},
		},
	} {
		r, start := NewRuns(), time.Now()
		for i, q := range story {
			got := r.heard(netip.MustParseAddr("10.99.0.2"), Run{q.by, q.back}, start.Add(q.at))
			if want := (standing{q.giveWay, q.several}); got != want {
				t.Errorf("%s: ping %d, of run %d: %+v, want %+v", name, i, q.by, got, want)
			}
		}
	}
}

// Homes do not stand in each other's way, and however many runs and homes there
// are, what is remembered is bounded.
func TestRunsAreBounded(t *testing.T) {
	r, now := NewRuns(), time.Now()
	addr := netip.MustParseAddr("10.0.0.0")
	for i := range MaxSources + 20 {
		addr = addr.Next()
		for id := range uint64(2 * maxRuns) {
			if s := r.heard(addr, Run{ID: id}, now); s != (standing{}) {
				t.Fatalf("home %d, run %d: %+v", i, id, s)
			}
		}
	}
	most := 0
	for _, list := range r.homes {
		most = max(most, len(list))
	}
	if len(r.homes) > MaxSources || most > maxRuns {
		t.Errorf("%d homes, up to %d runs", len(r.homes), most)
	}
	r.heard(addr, Run{ID: 1}, now.Add(time.Hour))
	if len(r.homes) != 1 {
		t.Errorf("an hour later %d homes are left", len(r.homes))
	}
}

// Homes and gates of versions without runs are as good to each other, and to
// those with, as they were.
func TestPingsOfOtherVersions(t *testing.T) {
	from := net.UDPAddrFromAddrPort(netip.MustParseAddrPort("10.99.0.2:1"))
	r := NewRuns()
	for range 3 { // an old home: no flags, random bits
		old := newPing(NewRun())
		old[pingFlags] = 0
		want := old
		want[pingKind] = pingAnswer
		if got, ok := r.answer(old[:], from); !ok || got != want {
			t.Errorf("an old home is answered %x, want %x", got, want)
		}
	}
	if len(r.homes) != 0 {
		t.Errorf("an old home has runs: %v", r.homes)
	}
	// An old gate sends back what it was sent.
	question := newPing(Run{ID: 7, GivenWay: true})
	echo := question
	echo[pingKind] = pingAnswer
	if s, ok := question.answers(echo[:]); !ok || s != (standing{}) {
		t.Errorf("an old gate's answer: %+v, %t", s, ok)
	}
	for name, spoil := range map[string]func(*Packet){
		"other number": func(p *Packet) { p[8]++ },
		"other run":    func(p *Packet) { p[23]++ },
		"other flags":  func(p *Packet) { p[pingFlags] ^= flagStanding },
		"other kind":   func(p *Packet) { p[pingKind] = 'x' },
		"a question":   func(p *Packet) { p[pingKind] = pingAsk },
	} {
		answer := echo
		spoil(&answer)
		if _, ok := question.answers(answer[:]); ok {
			t.Errorf("%s: taken for the answer", name)
		}
	}
}
