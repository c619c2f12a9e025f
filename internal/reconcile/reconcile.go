// Package reconcile brings the machine to the state that a gate or a home wants: the
// one round that both share, and what is seen of the machine between two.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	// Choices returns what the owner has decided, as the last Want has it.
	Choices() []plan.Choice
	// Settle does to flows what follows from the steps that were made; failed
	// is why not all were.
	Settle(want plan.State, steps []plan.Step, failed error) error
	// Publish notes how the round has ended.
	Publish(facts plan.Facts, err error)
	// Stands is told, at the end of a round, that the machine was brought to what
	// is wanted, whatever else has failed: a disk that takes no writes, say.
	Stands()
}

// Reconciler brings one machine to what one role wants, again and again.
type Reconciler struct {
	role    Role
	machine host.Machine
	others  *consent.Others
	events  event.Recorder
	rounds  *rounds
	turn    chan struct{} // holds one for the task that changes the machine
	choices []plan.Choice // that are in force, as far as this process knows; guarded by turn

	mu    sync.Mutex // guards what follows
	seen  Seen
	tally *tally
	want  *plan.State // of the last round that got so far; nil: none has
	// counting is how long it took to read the counters, and counted when.
	counting time.Duration
	counted  time.Time
}

// New returns a reconciler whose rounds end with ctx.
func New(ctx context.Context, role Role, m host.Machine, others *consent.Others, events event.Recorder) *Reconciler {
	r := &Reconciler{role: role, machine: m, others: others, events: events, turn: make(chan struct{}, 1), tally: newTally()}
	r.rounds = newRounds(func() ([]plan.Change, error) { return r.round(ctx) })
	return r
}

// Round returns once a round that began after it was called has ended, with what
// that has changed. A caller who changes something and waits for it to be in force
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
		steps, err := r.machine.Apply(ctx, want)
		changes = append(r.decided(err), plan.Describe(steps)...)
		r.record(changes)
		stands := err == nil
		if stands {
			step.At("machine stands")
		}
		err = errors.Join(err, r.role.Settle(want, steps, err))
		r.others.Look(ctx, want, facts)
		r.note(ctx, want, err)
		r.role.Publish(facts, err)
		if stands {
			r.role.Stands()
		}
		return err
	})
	return changes, err
}

// decided returns what the owner has decided since the last round that has carried
// everything out; nothing, in the first one: what an earlier process knew is not
// known.
func (r *Reconciler) decided(failed error) []plan.Change {
	if failed != nil {
		return nil
	}
	before, now := r.choices, r.role.Choices()
	r.choices = now
	if before == nil {
		return nil
	}
	return plan.Compare(before, now)
}

// Edited returns the changes of a round with what an owner has decided before it: a
// round that somebody else called for may have been faster, and carried that out.
func Edited(before, after []plan.Choice, round []plan.Change) []plan.Change {
	steps := slices.DeleteFunc(slices.Clone(round), func(c plan.Change) bool { return !c.Machine })
	return append(plan.Compare(before, after), steps...)
}

// Preview returns what would be changed for another wanted state, with the choices
// that it comes from, and whether nothing of ours stands yet. Nothing is changed
// for it.
func (r *Reconciler) Preview(ctx context.Context, want plan.State, choices []plan.Choice) (changes []plan.Change, fresh bool, err error) {
	steps, err := r.machine.Diff(ctx, want)
	if err != nil {
		return nil, false, err
	}
	fresh = isFresh(steps)
	if r.choices != nil || fresh {
		changes = plan.Compare(r.choices, choices)
	}
	return append(changes, plan.Describe(steps)...), fresh, nil
}

// isFresh reports whether nothing of ours stands yet.
func isFresh(steps []plan.Step) bool {
	return slices.ContainsFunc(steps, func(s plan.Step) bool {
		device, ok := s.(plan.ConfigureWireGuard)
		return ok && device.Missing
	})
}

// mostRecorded bounds how many changes of one round are told one by one: homes
// can cause as many as they publish forwards.
const mostRecorded = 32

// record tells what was changed.
func (r *Reconciler) record(changes []plan.Change) {
	for i, c := range changes {
		if i == mostRecorded {
			r.events.Record(event.Changed{What: fmt.Sprintf("%d more", len(changes)-i)})
			return
		}
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
	seen.Counted, seen.visited = r.seen.Counted, r.seen.visited
	seen.peers = r.tally.hear(seen.At, seen.Observed.WireGuard.Peers, want.WireGuard.Peers)
	r.seen, r.want = seen, &want
}

// Seen returns what is known of the machine, without a look at it.
func (r *Reconciler) Seen() Seen {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen
}
