package onboard

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// step is one of a run, with a name for the owner. What it consists of is known
// only once the steps before it are done.
type step struct {
	name  string
	parts func(ctx context.Context) ([]part, error)
	// stays says that a failure undoes nothing: all is set up by then.
	stays bool
}

// part is one thing that is done, and how it is undone.
type part struct {
	what string // is made, for the owner
	do   func(ctx context.Context) error
	// undo reverts what do has made, even half of it; nil: nothing is made.
	undo func(ctx context.Context) error
	// whole says that half of it needs no undoing, or must not be undone.
	whole bool
}

// act is a step that makes nothing.
func act(do func(ctx context.Context) error) func(context.Context) ([]part, error) {
	return func(context.Context) ([]part, error) { return []part{{do: do}}, nil }
}

// run does the steps one by one. If one fails, or ctx ends, what was made goes
// again, last things first.
func run(ctx context.Context, steps []step, progress Progress) error {
	var made []part
	for i, s := range steps {
		progress.Step(i+1, len(steps), s.name)
		err := s.run(ctx, &made)
		if err == nil {
			continue
		}
		err = fmt.Errorf("step %d, %s: %w", i+1, s.name, err)
		if s.stays {
			return err
		}
		return revert(ctx, made, err, progress)
	}
	return nil
}

// run does the parts of one step.
func (s step) run(ctx context.Context, made *[]part) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	parts, err := s.parts(ctx)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if p.undo != nil && !p.whole {
			*made = append(*made, p)
		}
		if err := p.do(ctx); err != nil {
			return err
		}
		if p.undo != nil && p.whole {
			*made = append(*made, p)
		}
	}
	return nil
}

// undoTime bounds the undoing of one thing.
const undoTime = 2 * time.Minute

// revert removes what was made, last things first, even after the owner has
// stopped it. What cannot be removed is said beside why it was to be.
func revert(ctx context.Context, made []part, why error, progress Progress) error {
	var left []error
	for i := len(made) - 1; i >= 0; i-- {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
		err := made[i].undo(ctx)
		cancel()
		if err != nil {
			left = append(left, fmt.Errorf("could not undo this, do it by hand: %s: %v", made[i].what, err)) // the kind is why's
			continue
		}
		progress.Done("undone: " + made[i].what)
	}
	if len(left) == 0 {
		return why
	}
	return errors.Join(append([]error{why}, left...)...)
}
