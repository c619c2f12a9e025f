package registry

import (
	"encoding/json"
	"errors"
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"

	"github.com/gatelodge/gatelodge/internal/key"
)

// clocks are the two clocks of a gate: one that anybody may set, and one that
// only goes on and starts again with each boot.
type clocks struct {
	t       *testing.T
	state   *State
	wall    time.Time
	boot    time.Time // of a real clock, for its monotonic reading
	running time.Duration
	secret  key.Secret
	invite  Invite
}

func newClocks(t *testing.T) *clocks {
	t.Helper()
	c := &clocks{t: t, state: New(), wall: noon, boot: time.Now(), secret: newSecret(t)}
	var err error
	if c.invite, err = c.state.Invite(gate, "attic", c.secret, c.now(), time.Hour); err != nil {
		t.Fatal(err)
	}
	return c
}

// now is a time that says one thing by its wall clock and another by its
// monotonic one: such as time.Now returns after somebody has set the clock.
func (c *clocks) now() time.Time { return skewed(c.boot.Add(c.running), c.wall) }

// passes lets time pass, and the gate looks at its invites as it does.
func (c *clocks) passes(d time.Duration) {
	const round = 20 * time.Second
	for ; d > 0; d -= round {
		step := min(d, round)
		c.wall, c.running = c.wall.Add(step), c.running+step
		c.state.Expire(c.now())
	}
}

func (c *clocks) set(by time.Duration) { c.wall = c.wall.Add(by) }

// reboots writes the state down and reads it back, some time later.
func (c *clocks) reboots(away time.Duration) {
	c.t.Helper()
	data, err := json.Marshal(c.state)
	if err != nil {
		c.t.Fatal(err)
	}
	c.state = new(State)
	if err := json.Unmarshal(data, c.state); err != nil {
		c.t.Fatal(err)
	}
	c.wall, c.boot, c.running = c.wall.Add(away), time.Now(), 0
}

func (c *clocks) redeem() error {
	_, err := c.state.Clone().Redeem(gate, c.secret, c.invite.Address4, key.Public{7}, c.now())
	return err
}

const year = 365 * 24 * time.Hour

// Whatever is done to the clock, an invite that has been seen to have ended
// opens no door again.
func TestAnInviteThatHasEndedStaysEnded(t *testing.T) {
	for name, story := range map[string]func(c *clocks){
		"three days late":                  func(c *clocks) { c.passes(72 * time.Hour) },
		"late, then the clock goes back":   func(c *clocks) { c.passes(72 * time.Hour); c.set(-year) },
		"the same, and a reboot":           func(c *clocks) { c.passes(2 * time.Hour); c.set(-year); c.reboots(time.Minute) },
		"a reboot, and the clock is back":  func(c *clocks) { c.passes(2 * time.Hour); c.reboots(-year) },
		"the clock is back all the while":  func(c *clocks) { c.set(-year); c.passes(61 * time.Minute) },
		"set back again and again":         func(c *clocks) { every(c, 7, 10*time.Minute, func() { c.set(-20 * time.Minute) }) },
		"ahead a year and back":            func(c *clocks) { c.set(year); c.passes(time.Minute); c.set(-year) },
		"away until it was over":           func(c *clocks) { c.passes(30 * time.Minute); c.reboots(31 * time.Minute) },
		"reboots with the clock set back":  func(c *clocks) { every(c, 8, 20*time.Minute, func() { c.reboots(-21 * time.Minute) }) },
		"late by a second, and at once":    func(c *clocks) { c.wall, c.running = c.wall.Add(time.Hour), time.Hour },
		"a clock that stood still":         func(c *clocks) { every(c, 61, time.Minute, func() { c.set(-time.Minute) }) },
		"asleep while only the wall moves": func(c *clocks) { c.passes(time.Minute); c.set(time.Hour) },
	} {
		c := newClocks(t)
		if err := c.redeem(); err != nil {
			t.Fatalf("%s: at first: %v", name, err)
		}
		story(c)
		if err := c.redeem(); !errors.Is(err, &Error{Code: ExpiredInvite}) && !errors.Is(err, &Error{Code: UnknownInvite}) {
			t.Errorf("%s: it is answered with %v", name, err)
		}
		if v := c.state.Invites; len(v) > 0 && v[0].Open(c.now()) {
			t.Errorf("%s: it counts as open", name)
		}
		if _, err := c.state.Invite(gate, "attic", newSecret(t), c.now(), time.Hour); err != nil {
			t.Errorf("%s: another invite for that name: %v", name, err)
		}
	}
}

func every(c *clocks, times int, pause time.Duration, do func()) {
	for range times {
		c.passes(pause)
		do()
	}
}

// What is done to the clock does not end an invite early, if it is not set ahead
// of its end.
func TestAnInviteThatHasNotEndedIsOpen(t *testing.T) {
	for name, story := range map[string]func(c *clocks){
		"a minute before its end":   func(c *clocks) { c.passes(59 * time.Minute) },
		"the clock goes back":       func(c *clocks) { c.passes(30 * time.Minute); c.set(-year); c.passes(29 * time.Minute) },
		"a reboot":                  func(c *clocks) { c.passes(30 * time.Minute); c.reboots(time.Minute); c.passes(20 * time.Minute) },
		"a reboot with a lost time": func(c *clocks) { c.passes(30 * time.Minute); c.reboots(-year); c.passes(29 * time.Minute) },
	} {
		c := newClocks(t)
		story(c)
		if err := c.redeem(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// One that was made after the clock came back from the future is as good as any.
func TestAnInviteAfterAClockThatWasWrong(t *testing.T) {
	c := newClocks(t)
	c.set(year)
	c.passes(time.Hour)
	c.set(-year)
	c.passes(time.Minute)
	secret := newSecret(t)
	v, err := c.state.Invite(gate, "barn", secret, c.now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	c.passes(59 * time.Minute)
	if _, err := c.state.Redeem(gate, secret, v.Address4, key.Public{7}, c.now()); err != nil {
		t.Error(err)
	}
}

// A used invite lets its home ask again for ten minutes, and never later.
func TestTheGraceOfAUsedInviteEnds(t *testing.T) {
	for name, story := range map[string]func(c *clocks){
		"eleven minutes":                 func(c *clocks) { c.passes(11 * time.Minute) },
		"and the clock goes back":        func(c *clocks) { c.passes(11 * time.Minute); c.set(-11 * time.Minute) },
		"a clock that stands":            func(c *clocks) { every(c, 11, time.Minute, func() { c.set(-time.Minute) }) },
		"back by much, at once":          func(c *clocks) { c.set(-year) },
		"a reboot to the very same time": func(c *clocks) { c.passes(11 * time.Minute); c.reboots(-11 * time.Minute) },
	} {
		c := newClocks(t)
		home, err := c.state.Redeem(gate, c.secret, c.invite.Address4, key.Public{7}, c.now())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.state.Redeem(gate, c.secret, home.Address4, key.Public{7}, c.now()); err != nil {
			t.Errorf("%s: at once: %v", name, err)
		}
		story(c)
		_, err = c.state.Redeem(gate, c.secret, home.Address4, key.Public{7}, c.now())
		if !errors.Is(err, &Error{Code: UsedInvite}) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The key of an invite that has ended is a peer for a while, to be told so, and
// then no longer.
func TestWhoIsLateIsToldForAWhile(t *testing.T) {
	c := newClocks(t)
	for _, step := range []struct {
		passes  time.Duration
		answers bool
	}{{59 * time.Minute, true}, {2 * time.Minute, true}, {8 * time.Minute, true}, {2 * time.Minute, false}, {time.Hour, false}} {
		c.passes(step.passes)
		if v := c.state.Invites[0]; v.Answers(c.now()) != step.answers {
			t.Errorf("at %v it answers: %v", c.wall, !step.answers)
		}
	}
	c.set(-year)
	if c.state.Invites[0].Answers(c.now()) {
		t.Error("a clock that goes back makes it a peer again")
	}
}

// While nobody touches the clock, an invite costs few writes.
func TestCountingIsWrittenDownSeldom(t *testing.T) {
	c := newClocks(t)
	changes := 0
	for range 170 {
		c.wall, c.running = c.wall.Add(20*time.Second), c.running+20*time.Second
		if c.state.Expire(c.now()).Changed {
			changes++
		}
	}
	if changes == 0 || changes > 6 {
		t.Errorf("%d writes in 57 minutes", changes)
	}
}

// A state of an older version, which counted nothing, ends its invites at the
// time that it says.
func TestAnOlderStateCounts(t *testing.T) {
	c := newClocks(t)
	c.state.Invites[0].Seen = time.Time{}
	c.reboots(30 * time.Minute)
	if err := c.redeem(); err != nil {
		t.Errorf("before its end: %v", err)
	}
	c.passes(31 * time.Minute)
	if err := c.redeem(); !errors.Is(err, &Error{Code: ExpiredInvite}) {
		t.Errorf("after its end: %v", err)
	}
}

// However often the clock is set and the gate is started again, an invite is
// open for no longer than it was made for, and a little for each start.
func TestNoClockLengthensAnInvite(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := newClocks(t)
		passed, starts := time.Duration(0), 0
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			switch rapid.IntRange(0, 2).Draw(rt, "what") {
			case 0:
				d := time.Duration(rapid.IntRange(1, 40).Draw(rt, "minutes")) * time.Minute
				c.passes(d)
				passed += d
			case 1:
				c.set(time.Duration(rapid.IntRange(-100, 30).Draw(rt, "set")) * time.Minute)
			case 2:
				c.reboots(0)
				starts++
			}
			if err := c.redeem(); err == nil && passed > time.Hour+time.Duration(starts)*countPause {
				rt.Fatalf("open after %v and %d starts", passed, starts)
			}
		}
	})
}

// skewed returns a time with the monotonic reading of one time and the wall
// clock's of another, which package time makes only where somebody sets the
// clock. It holds its result to that.
func skewed(running, says time.Time) time.Time {
	const (
		hasMonotonic = 1 << 63
		since1885    = 59453308800 - 62135596800 // Unix time of 1885-01-01, which the wall clock's seconds are counted from
	)
	t := running
	wall := (*uint64)(unsafe.Pointer(&t))
	*wall = hasMonotonic | uint64(says.Unix()-since1885)<<30 | uint64(says.Nanosecond())
	if !t.Round(0).Equal(says) || t.Sub(running) != 0 {
		panic("package time keeps its times in another way than it did")
	}
	return t
}
