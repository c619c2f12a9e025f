// Package reconcile brings the machine to the state that a gate or a home wants: the
// one round that both share, and what is seen of the machine between two.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gatelodge/gatelodge/internal/consent"
	"github.com/gatelodge/gatelodge/internal/event"
	"github.com/gatelodge/gatelodge/internal/host"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/step"
)

// Role is what a gate and a home do differently in a round.
type Role interface {
	// Gather finds out what planning needs to know, and refuses a machine on
	// which the tunnel would cut something off.
	Gather(ctx context.Context) (plan.Facts, error)
	// Want returns the wanted state.
	Want(facts plan.Facts) plan.State
	// Settle does to flows what follows from the changes that were made; failed
	// is why not all were.
	Settle(want plan.State, changes []plan.Change, failed error) error
	// Publish notes how the round has ended.
	Publish(facts plan.Facts, err error)
}

// Reconciler brings one machine to what one role wants, again and again.
type Reconciler struct {
	role    Role
	machine host.Machine
	others  *consent.Others
	events  event.Recorder
	rounds  *rounds
	turn    chan struct{} // holds one for whoever changes the machine

	mu   sync.Mutex // guards what follows
	seen Seen
	want *plan.State // of the last round that got so far; nil: none has
	// counting is how long it took to read the counters, and counted when.
	counting time.Duration
	counted  time.Time
}

// New returns a reconciler whose rounds end with ctx.
func New(ctx context.Context, role Role, m host.Machine, others *consent.Others, events event.Recorder) *Reconciler {
	r := &Reconciler{role: role, machine: m, others: others, events: events, turn: make(chan struct{}, 1)}
	r.rounds = newRounds(func() ([]plan.Change, error) { return r.round(ctx) })
	return r
}

// Round returns once a round that began after it was called has ended, with what
// that has changed. Whoever changes something and waits for it to be in force
// calls it, and shares that round with all others who do.
func (r *Reconciler) Round(ctx context.Context) ([]plan.Change, error) { return r.rounds.join(ctx) }

// Alone does what must not meet a round half way.
func (r *Reconciler) Alone(ctx context.Context, do func() error) error {
	select {
	case r.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-r.turn }()
	return do()
}

// round brings the machine to what is wanted: gather facts, plan, observe, apply
// the difference, settle the flows, look at other firewalls, publish.
func (r *Reconciler) round(ctx context.Context) (changes []plan.Change, err error) {
	err = r.Alone(ctx, func() error {
		r.rounds.begin()
		facts, err := r.role.Gather(ctx)
		if err != nil {
			r.role.Publish(facts, err)
			return err
		}
		want := r.role.Want(facts)
		changes, err = r.machine.Apply(ctx, want)
		r.record(changes)
		if err == nil {
			step.At("machine stands")
		}
		err = errors.Join(err, r.role.Settle(want, changes, err))
		r.others.Look(ctx, want, facts)
		r.note(ctx, want, err)
		r.role.Publish(facts, err)
		return err
	})
	return changes, err
}

// record tells what was changed.
func (r *Reconciler) record(changes []plan.Change) {
	for _, c := range changes {
		r.events.Record(event.Changed{What: c.String()})
	}
}

// note keeps what the round has left. A machine that was brought to what is wanted
// does not differ from it.
func (r *Reconciler) note(ctx context.Context, want plan.State, failed error) {
	seen := Seen{At: time.Now(), Problems: host.SavedGuards(want.Firewall.Table)}
	var err error
	if seen.Observed, err = r.machine.Glance(ctx, want); err != nil {
		seen.Problems = append(seen.Problems, fmt.Sprintf("cannot look at the tunnel: %v", err))
	}
	if failed != nil {
		if seen.Drift, err = r.machine.Diff(ctx, want); err != nil {
			seen.Problems = append(seen.Problems, err.Error())
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	seen.Counted = r.seen.Counted
	r.seen, r.want = seen, &want
}

// Seen returns what is known of the machine, without a look at it.
func (r *Reconciler) Seen() Seen {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen
}

// SameInstance refuses to rename the interface under a running daemon: what
// stands under the old name would be forgotten.
func SameInstance(running, wanted string) error {
	if running == wanted {
		return nil
	}
	return fmt.Errorf("the interface is %s and cannot become %s while the daemon runs; run gatelodge down before the change, and gatelodge up after it", running, wanted)
}
