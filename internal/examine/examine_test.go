package examine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/gatelodge/gatelodge/internal/doctor"
)

func TestOutcomesOfProbes(t *testing.T) {
	for err, want := range map[error]doctor.Result{
		nil:                      doctor.Open,
		syscall.ECONNREFUSED:     doctor.Closed,
		syscall.EHOSTUNREACH:     doctor.Unreachable,
		syscall.EACCES:           doctor.Unreachable,
		os.ErrDeadlineExceeded:   doctor.TimedOut,
		context.DeadlineExceeded: doctor.TimedOut,
	} {
		if err != nil {
			err = fmt.Errorf("dial: %w", err)
		}
		if got := outcome(err); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}

// A part that fails is said, and the others count all the same.
func TestWhatCannotBeLookedAtIsSaid(t *testing.T) {
	var side doctor.Side
	n := Begin(&side)
	n.Look("the moon", func() (func(*doctor.Side), error) { return nil, errors.New("clouds") })
	n.Look("the sun", func() (func(*doctor.Side), error) { return func(s *doctor.Side) { s.Name = "sun" }, nil })
	n.Wait()
	if side.Name != "sun" || !slices.Equal(side.Unseen, []string{"the moon could not be looked at: clouds"}) {
		t.Errorf("%+v", side)
	}
}
