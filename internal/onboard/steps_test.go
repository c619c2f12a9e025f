package onboard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/problem"
)

// told is a Progress that notes what it is told.
type told struct{ said []string }

func (p *told) Step(n, of int, name string) {
	p.said = append(p.said, fmt.Sprintf("%d/%d %s", n, of, name))
}
func (p *told) Done(text string)                         { p.said = append(p.said, text) }
func (p *told) Agree(context.Context, Proposal) error    { return nil }
func (p *told) Password(context.Context) (string, error) { return "", nil }

// script is a run whose parts note what they do, and of which one fails or is
// stopped by Ctrl-C.
type script struct {
	done   []string
	at     string // the part at which it happens
	happen func() error
}

func (s *script) part(name string) part {
	return part{
		what: name,
		do: func(context.Context) error {
			s.done = append(s.done, name)
			if name == s.at {
				return s.happen()
			}
			return nil
		},
		undo: func(ctx context.Context) error {
			s.done = append(s.done, "-"+name)
			return ctx.Err() // which must not be that of Ctrl-C
		},
	}
}

func (s *script) steps() []step {
	parts := func(names ...string) func(context.Context) ([]part, error) {
		return func(context.Context) (list []part, err error) {
			for _, n := range names {
				list = append(list, s.part(n))
			}
			return list, nil
		}
	}
	last := step{name: "four", parts: parts("f"), stays: true}
	return []step{{name: "one", parts: parts("a", "b")}, {name: "two", parts: parts("c")}, {name: "three", parts: parts("d", "e")}, last}
}

var order = []string{"a", "b", "c", "d", "e", "f"}

// Wherever Ctrl-C or a failure comes, what was made goes again, last things
// first; but for the last step, which only looks.
func TestAnyStepIsReverted(t *testing.T) {
	for i, at := range order {
		for _, ctrlC := range []bool{false, true} {
			ctx, stop := context.WithCancelCause(t.Context())
			s := &script{at: at, happen: func() error { return errors.New("it fails") }}
			if ctrlC {
				s.happen = func() error { stop(errors.New("stopped")); return ctx.Err() }
			}
			p := &told{}
			err := run(ctx, s.steps(), p)
			want := slices.Clone(order[:i+1])
			for j := i; j >= 0 && at != "f"; j-- {
				want = append(want, "-"+order[j])
			}
			if err == nil || !slices.Equal(s.done, want) {
				t.Errorf("%s, Ctrl-C %t: %v, done %q, wanted %q", at, ctrlC, err, s.done, want)
			}
			if taken := strings.Count(strings.Join(p.said, "\n"), "undone: "); at != "f" && taken != i+1 {
				t.Errorf("%s: said %q", at, p.said)
			}
			stop(nil)
		}
	}
}

// A Ctrl-C that a part has not heard of, as it goes on to its end, is heard before
// the next.
func TestCtrlCIsHeardBetweenParts(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	s := &script{at: "c", happen: func() error { stop(); return nil }}
	if err := run(ctx, s.steps(), &told{}); !errors.Is(err, context.Canceled) || strings.Join(s.done, " ") != "a b c -c -b -a" {
		t.Errorf("%v, done %q", err, s.done)
	}
}

func TestAllStepsAreDone(t *testing.T) {
	s, p := &script{}, &told{}
	if err := run(t.Context(), s.steps(), p); err != nil || !slices.Equal(s.done, order) {
		t.Errorf("%v, done %q", err, s.done)
	}
	if strings.Join(p.said, " ") != "1/4 one 2/4 two 3/4 three 4/4 four" {
		t.Errorf("said %q", p.said)
	}
}

// What cannot be undone is said beside why it was to be, whose hint and kind
// stay; what must not be undone half-done is not.
func TestWhatCannotBeUndoneIsSaid(t *testing.T) {
	s := &script{}
	sticks, half := s.part("second"), s.part("half")
	sticks.undo = func(context.Context) error { return problem.New(problem.Usage, "no", "it sticks") }
	half.do, half.whole = func(context.Context) error { return problem.New(problem.Unreachable, "try", "no answer") }, true
	p := &told{}
	err := run(t.Context(), []step{{name: "all", parts: func(context.Context) ([]part, error) {
		return []part{s.part("first"), sticks, s.part("third"), half}, nil
	}}}, p)
	e, ok := errors.AsType[*problem.Error](err)
	if !ok || e.Kind != problem.Unreachable || e.Hint != "try" || strings.Join(s.done, " ") != "first second third -third -first" {
		t.Errorf("%v, %+v, done %q", err, e, s.done)
	}
	for _, want := range []string{"step 1, all: no answer", "by hand: second: it sticks"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}
