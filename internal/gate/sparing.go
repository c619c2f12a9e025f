package gate

import (
	"maps"
	"sync"
	"time"
)

// sparingLog bounds what each home can have the gate write to its log: a few
// lines at once, and then one from time to time, which says how many were left
// out. One home's share is none of the others' business.
type sparingLog struct {
	mu    sync.Mutex
	homes map[string]said
}

// said is what was logged about one home.
type said struct {
	lines  int
	last   time.Time
	unsaid int
}

const (
	saidAtOnce   = 5 // lines, until a home was quiet for saidInterval
	saidInterval = time.Minute
)

func newSparingLog() *sparingLog { return &sparingLog{homes: map[string]said{}} }

// do calls say with the number of lines that were left out before, or leaves
// this one out.
func (l *sparingLog) do(home string, now time.Time, say func(unsaid int)) {
	if unsaid, ok := l.allow(home, now); ok {
		say(unsaid)
	}
}

func (l *sparingLog) allow(home string, now time.Time) (unsaid int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.homes[home]
	if s.lines >= saidAtOnce && now.Sub(s.last) < saidInterval {
		s.unsaid++
		l.homes[home] = s
		return 0, false
	}
	maps.DeleteFunc(l.homes, func(_ string, s said) bool { return s.unsaid == 0 && now.Sub(s.last) >= saidInterval })
	if now.Sub(s.last) >= saidInterval {
		s.lines = 0
		if s.unsaid > 0 {
			s.lines = saidAtOnce // it has not been quiet: one line is enough
		}
	}
	unsaid = s.unsaid
	l.homes[home] = said{lines: min(s.lines+1, saidAtOnce), last: now}
	return unsaid, true
}
