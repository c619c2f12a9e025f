package supervise

import (
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Quota is a log that bounds what one source of lines can add to the log. The other side
// of the tunnel can cause many of them: a verdict that is another one at each
// question, a tunnel that comes and goes. The first lines are written in full;
// of what comes faster, a line now and then, with how many it stands for.
type Quota struct {
	log *slog.Logger

	mu    sync.Mutex
	lines *rate.Limiter
	left  int // lines that were not written since the last one that was
}

const (
	quotaBurst = 60
	quotaPause = time.Minute
)

// NewQuota returns a quota of the log.
func NewQuota(log *slog.Logger) *Quota {
	return &Quota{log: log, lines: rate.NewLimiter(rate.Every(quotaPause), quotaBurst)}
}

// Info writes a line, or counts it as left out.
func (q *Quota) Info(message string, args ...any) { q.write(q.log.Info, message, args) }

// Warn writes a line, or counts it as left out.
func (q *Quota) Warn(message string, args ...any) { q.write(q.log.Warn, message, args) }

// Error writes a line, or counts it as left out.
func (q *Quota) Error(message string, args ...any) { q.write(q.log.Error, message, args) }

func (q *Quota) write(line func(string, ...any), message string, args []any) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.lines.Allow() {
		q.left++
		return
	}
	if q.left > 0 {
		args = append(args, "lines_left_out", q.left)
		q.left = 0
	}
	line(message, args...)
}
