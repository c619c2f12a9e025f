package home

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatelodge/gatelodge/internal/control"
	"github.com/gatelodge/gatelodge/internal/counted"
	"github.com/gatelodge/gatelodge/internal/event"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/status"
	"github.com/gatelodge/gatelodge/internal/supervise"
)

// pusher tells the gate what this home publishes: whenever that changes, when
// the gate answers again, and when the gate turns out to hold something else.
type pusher struct {
	link   *link
	events *supervise.Quota // of facts that the gate can cause
	loop   *supervise.Loop
	ask    func() publisher

	mu       sync.Mutex
	leaves   bool                       // nothing is to be published any longer
	wanted   []forward.Published        // the list that the verdicts are about
	verdicts map[string]control.Verdict // nil: the gate has not answered yet
	taken    time.Time                  // when it did
	failure  string                     // why it could not, if it said so
	trouble  string                     // why the gate may hold something else now
	answered chan struct{}              // closed once it has
	visitors []netip.Addr               // where visitors arrive at the gate
}

// pushRound is how often the gate is asked whether it still has what this
// home publishes.
const pushRound = 15 * time.Second

// publisher is what a gate is asked of a home's forwards.
type publisher interface {
	State(ctx context.Context) (control.StateResponse, error)
	Push(ctx context.Context, generation uint64, forwards []forward.Published) (control.PushResponse, error)
	Close()
}

func newPusher(l *link) *pusher {
	p := &pusher{link: l, events: supervise.NewQuota(l.events), answered: make(chan struct{})}
	p.ask = func() publisher {
		own, gate := l.ends()
		return control.NewClient(gate, control.DialFrom(own))
	}
	p.loop = supervise.NewLoop("publish", pushRound, l.events, p.round)
	return p
}

func (p *pusher) kick() { p.loop.Kick() }

// round makes sure that the gate has the present list. Whatever keeps it from
// that is a problem in status until it is over: the gate may go on publishing
// an older list, or somebody else's.
func (p *pusher) round(ctx context.Context) error {
	p.refresh()
	if up, _, _ := p.link.keep.state(); !up {
		p.note(nil) // what matters is that there is no tunnel
		return nil  // the keeper kicks as soon as the gate answers
	}
	list := p.list()
	before := p.granted(list)
	err := p.publish(ctx)
	if ctx.Err() == nil {
		p.note(err)
	}
	if !slices.Equal(before, p.granted(list)) {
		p.link.loop.Kick() // for what this home may lead to itself
	}
	return err
}

func (p *pusher) publish(ctx context.Context) error {
	gate := p.ask()
	defer gate.Close()
	state, err := gate.State(ctx)
	if err != nil {
		return fmt.Errorf("cannot ask the gate what it holds: %w", p.noteFailure(err))
	}
	p.link.agreeMTU(state.MTU)
	settled, err := p.settled(state)
	if settled || err != nil {
		return err
	}
	return p.send(ctx, gate, state.Generation)
}

// note keeps the outcome of a round for status.
func (p *pusher) note(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trouble = ""
	if err == nil {
		return
	}
	p.trouble = "the gate may not hold what this home publishes: " + err.Error()
	if errors.Is(err, &control.Error{Code: control.Stale}) {
		p.trouble += "; if another machine runs with a copy of this home's key, end that; if none does, on the gate: gatelodge gate revoke, and join again with a new invite"
	}
}

// problems returns what status has to say of publishing.
func (p *pusher) problems() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.trouble == "" {
		return nil
	}
	return []string{p.trouble}
}

// noteFailure keeps what a gate says that cannot do as it is asked, for those
// who wait for its answer. It will be asked again all the same.
func (p *pusher) noteFailure(err error) error {
	said, ok := errors.AsType[*control.Error](err)
	if !ok || said.Code == control.TooOften {
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
	list := p.list()
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

// list is what this home publishes, which is nothing once it leaves.
func (p *pusher) list() []forward.Published {
	p.mu.Lock()
	leaves := p.leaves
	p.mu.Unlock()
	if leaves {
		return nil
	}
	return p.link.published()
}

// leave has the gate publish nothing, until set says otherwise.
func (p *pusher) leave(ctx context.Context, patience time.Duration) error {
	p.set(true)
	p.await(ctx, patience)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.verdicts == nil || len(p.wanted) > 0 {
		return errors.New(cmp.Or(p.failure, "the gate does not answer"))
	}
	return nil
}

func (p *pusher) set(leaves bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leaves = leaves
}

// settled reports whether the gate holds the present list, and takes its
// verdicts: they may have changed since the push.
func (p *pusher) settled(s control.StateResponse) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.visitors = s.Public
	if s.Digest != control.Digest(p.wanted) {
		return false, nil
	}
	if err := s.Answers(p.wanted); err != nil {
		return false, err
	}
	p.take(s.Verdicts)
	return true, nil
}

// take notes verdicts on the present list. The caller holds mu.
func (p *pusher) take(verdicts []control.Verdict) {
	p.tellVerdicts(verdicts)
	p.verdicts, p.taken, p.failure = byName(verdicts), time.Now(), ""
	if !isClosed(p.answered) {
		close(p.answered)
	}
}

// send pushes the list under a generation newer than the gate's, which is on
// disk before the gate hears of it.
func (p *pusher) send(ctx context.Context, gate publisher, theirs uint64) error {
	generation, err := p.link.nextGeneration(theirs)
	if err != nil {
		return err
	}
	p.mu.Lock()
	list := p.wanted
	p.mu.Unlock()
	answer, err := gate.Push(ctx, generation, list)
	if err != nil {
		err = fmt.Errorf("cannot publish at the gate: %w", p.noteFailure(err))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.verdicts = nil // they are about a list that the gate does not hold
		return err
	}
	if !reflect.DeepEqual(list, p.wanted) {
		return nil // it has changed meanwhile, and another round has been asked for
	}
	p.visitors = answer.Public
	p.take(answer.Verdicts)
	return nil
}

// tellVerdicts tells what is news.
func (p *pusher) tellVerdicts(verdicts []control.Verdict) {
	for _, v := range verdicts {
		if old, known := p.verdicts[v.Name]; known && old.State == v.State && old.Reason == v.Reason {
			continue
		}
		if v.State == control.Granted {
			p.events.Record(event.ForwardPublished{Forward: v.Name, Notes: v.Notes})
		} else {
			p.events.Record(event.ForwardRefused{Forward: v.Name, Reason: v.Reason})
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
	if up, _, _ := p.link.keep.state(); !up {
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

// count adds to the report of a forward what the gate has counted of it.
func (p *pusher) count(f *status.Forward) {
	p.mu.Lock()
	defer p.mu.Unlock()
	counted.Hear(f, p.verdicts[f.Name].Traffic, p.taken)
}

// granted returns the names of those forwards of a list that the gate is known
// to publish as the list has them.
func (p *pusher) granted(list []forward.Published) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	held := make(map[string]forward.Published, len(p.wanted))
	for _, f := range p.wanted {
		held[f.Name] = f
	}
	var names []string
	for _, f := range list {
		if p.verdicts[f.Name].State == control.Granted && reflect.DeepEqual(held[f.Name], f) {
			names = append(names, f.Name)
		}
	}
	return names
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
