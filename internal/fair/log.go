package fair

import (
	"maps"
	"sync"
	"time"
)

// Log bounds what each home can have the gate write to its log: a few
// lines at once, and then one from time to time, which says how many were left
// out. One home's share is none of the others' business.
type Log struct {
	mu    sync.Mutex
	homes map[string]said
}

// said is what was logged about one home.
type said struct {
	lines  int
	last   time.Time
	unsaid int
}

// What may be said about each home.
const (
	SaidAtOnce   = 5           // lines, until a home was quiet for SaidInterval
	SaidInterval = time.Minute // from then on, one line
)

// NewLog returns a log in which nothing was said yet.
func NewLog() *Log { return &Log{homes: map[string]said{}} }

// Do calls say with the number of lines that were left out before, or leaves
// this one out.
func (l *Log) Do(home string, now time.Time, say func(unsaid int)) {
	if unsaid, ok := l.allow(home, now); ok {
		say(unsaid)
	}
}

func (l *Log) allow(home string, now time.Time) (unsaid int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.homes[home]
	if s.lines >= SaidAtOnce && now.Sub(s.last) < SaidInterval {
		s.unsaid++
		l.homes[home] = s
		return 0, false
	}
	maps.DeleteFunc(l.homes, func(_ string, s said) bool { return s.unsaid == 0 && now.Sub(s.last) >= SaidInterval })
	if now.Sub(s.last) >= SaidInterval {
		s.lines = 0
		if s.unsaid > 0 {
			s.lines = SaidAtOnce // it has not been quiet: one line is enough
		}
	}
	unsaid = s.unsaid
	l.homes[home] = said{lines: min(s.lines+1, SaidAtOnce), last: now}
	return unsaid, true
}
