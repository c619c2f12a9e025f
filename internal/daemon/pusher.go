package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/gatelodge/gatelodge/internal/control"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/status"
)

// pusher tells the gate what this home publishes: whenever that changes, when
// the gate answers again, and when the gate turns out to hold something else.
type pusher struct {
	home *home
	log  *slog.Logger
	loop *loop

	mu       sync.Mutex
	wanted   []forward.Published        // the list that the verdicts are about
	verdicts map[string]control.Verdict // nil: the gate has not answered yet
	failure  string                     // why it could not, if it said so
	answered chan struct{}              // closed once it has
	visitors []netip.Addr               // where visitors arrive at the gate
}

// pushRound is how often the gate is asked whether it still has what this
// home publishes.
const pushRound = 15 * time.Second

func newPusher(h *home) *pusher {
	p := &pusher{home: h, log: h.log, answered: make(chan struct{})}
	p.loop = newLoop("publish", pushRound, h.log, p.round)
	return p
}

func (p *pusher) kick() { p.loop.kick() }

// round makes sure that the gate has the present list.
func (p *pusher) round(ctx context.Context) error {
	p.refresh()
	if up, _, _ := p.home.keep.state(); !up {
		return nil // the keeper kicks as soon as the gate answers
	}
	own, gate := p.home.ends()
	client := control.NewClient(gate, dialFrom(own))
	defer client.Close()
	state, err := client.State(ctx)
	if err != nil {
		return fmt.Errorf("cannot ask the gate what it holds: %w", p.noteFailure(err))
	}
	if p.settled(state) {
		return nil
	}
	return p.send(ctx, client, state.Generation)
}

// noteFailure keeps what a gate says that cannot do as it is asked, for whoever
// waits for its answer. It will be asked again all the same.
func (p *pusher) noteFailure(err error) error {
	said, ok := errors.AsType[*control.Error](err)
	if !ok || said.Code == control.Stale || said.Code == control.TooOften {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failure = said.Message
	if !isClosed(p.answered) {
		close(p.answered)
	}
	return err
}

// refresh takes the list from the configuration. A list that differs has no
// verdicts yet.
func (p *pusher) refresh() {
	list := p.home.published()
	p.mu.Lock()
	defer p.mu.Unlock()
	if (p.verdicts != nil || p.failure != "") && reflect.DeepEqual(list, p.wanted) {
		return
	}
	p.wanted, p.verdicts, p.failure = list, nil, ""
	if isClosed(p.answered) {
		p.answered = make(chan struct{})
	}
}

// settled reports whether the gate holds the present list, and takes its
// verdicts: they may have changed since the push.
func (p *pusher) settled(s control.StateResponse) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.visitors = s.Public
	if s.Digest != control.Digest(p.wanted) {
		return false
	}
	p.take(s.Verdicts)
	return true
}

// take notes verdicts on the present list. The caller holds mu.
func (p *pusher) take(verdicts []control.Verdict) {
	p.logVerdicts(verdicts)
	p.verdicts, p.failure = byName(verdicts), ""
	if !isClosed(p.answered) {
		close(p.answered)
	}
}

// send pushes the list under a generation newer than the gate's, which is on
// disk before the gate hears of it.
func (p *pusher) send(ctx context.Context, client *control.Client, theirs uint64) error {
	generation, err := p.home.nextGeneration(theirs)
	if err != nil {
		return err
	}
	p.mu.Lock()
	list := p.wanted
	p.mu.Unlock()
	answer, err := client.Push(ctx, generation, list)
	if err != nil {
		return fmt.Errorf("cannot publish at the gate: %w", p.noteFailure(err))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !reflect.DeepEqual(list, p.wanted) {
		return nil // it has changed meanwhile, and another round has been asked for
	}
	p.visitors = answer.Public
	p.take(answer.Verdicts)
	return nil
}

// logVerdicts says what is news.
func (p *pusher) logVerdicts(verdicts []control.Verdict) {
	for _, v := range verdicts {
		if old, known := p.verdicts[v.Name]; known && old.State == v.State && old.Reason == v.Reason {
			continue
		}
		if v.State == control.Granted {
			p.log.Info("published", "forward", v.Name, "notes", v.Notes)
		} else {
			p.log.Warn("the gate refuses a forward", "forward", v.Name, "reason", v.Reason)
		}
	}
}

// await waits until the gate has answered for the present configuration, but
// no longer than patience.
func (p *pusher) await(ctx context.Context, patience time.Duration) {
	p.refresh()
	p.kick()
	p.mu.Lock()
	answered := p.answered
	p.mu.Unlock()
	if up, _, _ := p.home.keep.state(); !up {
		return
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-answered:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// verdict returns what the gate has said to a forward.
func (p *pusher) verdict(name string) (status.State, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v, ok := p.verdicts[name]
	switch {
	case !ok:
		return status.Pending, p.failure
	case v.State == control.Granted:
		return status.Granted, strings.Join(v.Notes, "; ")
	default:
		return status.Refused, v.Reason
	}
}

// public returns where visitors arrive at the gate.
func (p *pusher) public() []netip.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]netip.Addr{}, p.visitors...)
}

func byName(verdicts []control.Verdict) map[string]control.Verdict {
	m := make(map[string]control.Verdict, len(verdicts))
	for _, v := range verdicts {
		m[v.Name] = v
	}
	return m
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
