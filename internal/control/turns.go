package control

import (
	"context"
	"maps"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/gatelodge/gatelodge/internal/control/ping"
)

// A push costs the gate more than any other message: it is judged, written to
// disk, and waits until the machine is as it says. So each home has one under
// way at a time, and in the long run one a second. Who is faster waits for its
// turn rather than being refused: a person who publishes a few services one
// after the other feels nothing, and a script takes a second for each.
const (
	pushPause = time.Second
	pushBurst = 8
	maxPushes = 16 // under way at once, of all homes
)

// turns says whose push comes next.
type turns struct {
	places chan struct{} // holds one for each push that is under way

	mu  sync.Mutex
	all map[netip.Addr]*turn
}

// turn is that of one source.
type turn struct {
	taken bool
	rate  *rate.Limiter
}

func newTurns() *turns {
	return &turns{places: make(chan struct{}, maxPushes), all: make(map[netip.Addr]*turn)}
}

// inTurn serves a message when its source's turn has come. It is not even
// decoded before.
func (t *turns) inTurn(serve func(context.Context, netip.Addr, []byte) (any, error)) func(context.Context, netip.Addr, []byte) (any, error) {
	return func(ctx context.Context, from netip.Addr, body []byte) (any, error) {
		own := t.take(from)
		if own == nil {
			return nil, refuse(TooOften, "the gate has not answered the last push from %v yet; try again in a few seconds", from)
		}
		defer t.give(own)
		if err := own.rate.Wait(ctx); err != nil {
			return nil, refuse(TooOften, "too many pushes from %v; try again in a few seconds", from)
		}
		select {
		case t.places <- struct{}{}:
			defer func() { <-t.places }()
			return serve(ctx, from, body)
		case <-ctx.Done():
			return nil, refuse(TooOften, "too many homes push at once; try again in a few seconds")
		}
	}
}

// take returns the turn of a source, or nil if it is taken, or if there are too
// many sources.
func (t *turns) take(from netip.Addr) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	own := t.all[from]
	if own == nil {
		if len(t.all) >= ping.MaxSources {
			maps.DeleteFunc(t.all, func(_ netip.Addr, o *turn) bool { return !o.taken && o.rate.Tokens() >= pushBurst })
		}
		if len(t.all) >= ping.MaxSources {
			return nil
		}
		own = &turn{rate: rate.NewLimiter(rate.Every(pushPause), pushBurst)}
		t.all[from] = own
	}
	if own.taken {
		return nil
	}
	own.taken = true
	return own
}

func (t *turns) give(own *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	own.taken = false
}
