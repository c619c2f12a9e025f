package fair

import (
	"testing"
	"time"
)

// A home that pushes all day has a few lines and then one a minute, which says
// how many it stands for; another home's lines are its own.
func TestTheLogOfPushesIsBounded(t *testing.T) {
	l, now := NewLog(), time.Now()
	lines, counted := 0, 0
	const pushes = 3600
	for range pushes { // one a second for an hour
		l.Do("greedy", now, func(unsaid int) { lines, counted = lines+1, counted+1+unsaid })
		now = now.Add(time.Second)
	}
	if lines > SaidAtOnce+60 {
		t.Errorf("%d lines in an hour", lines)
	}
	if counted < pushes-60 {
		t.Errorf("the lines speak of %d pushes of %d", counted, pushes)
	}
	for range SaidAtOnce {
		if _, ok := l.allow("quiet", now); !ok {
			t.Error("another home's first lines are left out")
		}
	}
	now = now.Add(2 * SaidInterval)
	if unsaid, ok := l.allow("greedy", now); !ok || unsaid == 0 {
		t.Errorf("after a pause it says that %d were left out: %v", unsaid, ok)
	}
	now = now.Add(2 * SaidInterval)
	l.allow("other", now)
	if len(l.homes) != 1 {
		t.Errorf("homes that have long been quiet are remembered: %v", l.homes)
	}
}
