package daemon

import (
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// logQuota bounds what one source of lines can add to the log. The other side
// of the tunnel can cause many of them: a verdict that is another one at each
// question, a tunnel that comes and goes. The first lines are written in full;
// of what comes faster, a line now and then, with how many it stands for.
type logQuota struct {
	log *slog.Logger

	mu    sync.Mutex
	lines *rate.Limiter
	left  int // lines that were not written since the last one that was
}

const (
	quotaBurst = 60
	quotaPause = time.Minute
)

func newLogQuota(log *slog.Logger) *logQuota {
	return &logQuota{log: log, lines: rate.NewLimiter(rate.Every(quotaPause), quotaBurst)}
}

func (q *logQuota) info(message string, args ...any)  { q.write(q.log.Info, message, args) }
func (q *logQuota) warn(message string, args ...any)  { q.write(q.log.Warn, message, args) }
func (q *logQuota) error(message string, args ...any) { q.write(q.log.Error, message, args) }

func (q *logQuota) write(line func(string, ...any), message string, args []any) {
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
