package control

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatelodge/gatelodge/internal/control/ping"
)

// pushing is a gate that takes a while for each push.
type pushing struct {
	turns *turns
	takes time.Duration

	mu      sync.Mutex // guards what follows
	now     int        // pushes under way
	most    int
	served  map[netip.Addr]int
	refused map[netip.Addr]int
}

func newPushing(takes time.Duration) *pushing {
	return &pushing{turns: newTurns(), takes: takes, served: map[netip.Addr]int{}, refused: map[netip.Addr]int{}}
}

func (p *pushing) push(ctx context.Context, from netip.Addr) error {
	_, err := p.turns.inTurn(func(context.Context, netip.Addr, []byte) (any, error) {
		p.mu.Lock()
		p.now++
		p.most = max(p.most, p.now)
		p.mu.Unlock()
		time.Sleep(p.takes)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.now--
		return nil, nil
	})(ctx, from, nil)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.served[from]++
	} else {
		p.refused[from]++
	}
	return err
}

func home(n byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 99, 0, n}) }

// A home that pushes as fast as it is answered comes to one push a second, and
// a person feels nothing of that.
func TestOnePushASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPushing(0)
		begin := time.Now()
		for range pushBurst {
			if err := p.push(t.Context(), home(2)); err != nil {
				t.Error(err)
			}
		}
		if d := time.Since(begin); d > 0 {
			t.Errorf("the first pushes wait for %v", d)
		}
		for time.Since(begin) < time.Minute {
			if err := p.push(t.Context(), home(2)); err != nil {
				t.Error(err)
			}
		}
		if n := p.served[home(2)]; n > pushBurst+60 {
			t.Errorf("%d pushes in a minute", n)
		}
	})
}

// A home that does not wait for its answers has one push under way, however
// many it sends; so it takes no more of the places than anybody else.
func TestOnePushUnderWayForEachHome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPushing(10 * time.Second)
		for range 8 {
			go func() { _ = p.push(t.Context(), home(2)) }()
		}
		synctest.Wait()
		if p.now != 1 || p.refused[home(2)] != 7 {
			t.Errorf("%d are under way, %d are refused", p.now, p.refused[home(2)])
		}
		begin := time.Now()
		if err := p.push(t.Context(), home(3)); err != nil || time.Since(begin) > p.takes {
			t.Errorf("another home waits for %v: %v", time.Since(begin), err)
		}
	})
}

// However many homes push, no more than maxPushes are under way, and all get
// their turn; who hangs up while waiting leaves no place taken.
func TestPushesOfManyHomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPushing(time.Second)
		for n := range byte(100) {
			go func() { _ = p.push(t.Context(), home(n)) }()
		}
		synctest.Wait()
		ctx, hangUp := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() { gone <- p.push(ctx, home(200)) }()
		synctest.Wait()
		hangUp()
		if err := <-gone; !errors.Is(err, &Error{Code: TooOften}) {
			t.Errorf("who hung up is answered with %v", err)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if p.most != maxPushes || len(p.served) != 100 || p.now != 0 || len(p.turns.places) != 0 {
			t.Errorf("at most %d were under way, %d homes were served; %d and %d are left", p.most, len(p.served), p.now, len(p.turns.places))
		}
		if err := p.push(t.Context(), home(200)); err != nil {
			t.Errorf("its next push: %v", err)
		}
	})
}

// Sources that have been quiet make room for others.
func TestTurnsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPushing(0)
		source := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}) }
		for i := range ping.MaxSources {
			if err := p.push(t.Context(), source(i)); err != nil {
				t.Fatal(err)
			}
		}
		if p.push(t.Context(), home(1)) == nil {
			t.Error("there is no bound")
		}
		time.Sleep(pushBurst * pushPause)
		if err := p.push(t.Context(), home(1)); err != nil || len(p.turns.all) != 1 {
			t.Errorf("%d are remembered: %v", len(p.turns.all), err)
		}
	})
}
