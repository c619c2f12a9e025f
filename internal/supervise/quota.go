package supervise

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/gatelodge/gatelodge/internal/event"
)

// Quota is an event.Recorder that bounds what one source of facts can have others
// told. The other side of the tunnel can cause many of them: a verdict that is
// another one at each question, a tunnel that comes and goes. The first ones are
// passed on; of what comes faster, one now and then, after an event.LeftOut.
type Quota struct {
	events event.Recorder

	mu    sync.Mutex
	facts *rate.Limiter
	left  int // facts that were not passed on since the last one that was
}

const (
	quotaBurst = 60
	quotaPause = time.Minute
)

// NewQuota returns a quota of what events are told.
func NewQuota(events event.Recorder) *Quota {
	return &Quota{events: events, facts: rate.NewLimiter(rate.Every(quotaPause), quotaBurst)}
}

// Record implements event.Recorder.
func (q *Quota) Record(f event.Fact) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.facts.Allow() {
		q.left++
		return
	}
	if q.left > 0 {
		q.events.Record(event.LeftOut{Facts: q.left})
		q.left = 0
	}
	q.events.Record(f)
}
