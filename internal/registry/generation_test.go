package registry

import (
	"errors"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/gatelodge/gatelodge/internal/forward"
)

// drawGeneration draws numbers that meet, lie a lead apart, or are at an end.
func drawGeneration(t *rapid.T, name string) uint64 {
	near := rapid.Uint64Range(0, 4).Draw(t, name+" near")
	around := rapid.SampledFrom([]uint64{2, forward.MaxLead, 2 * forward.MaxLead, forward.Unreachable, forward.Unreachable + forward.MaxLead, math.MaxUint64 - 2}).Draw(t, name+" around")
	return around + near - 2
}

// Whatever was pushed before, by anybody, a home that asks for the gate's
// number can go on: with the next one, or, where there is none, with any.
func TestNoGenerationIsTheLast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := New()
		s.Homes = []Home{{Name: "attic", Generation: drawGeneration(t, "stored")}}
		for range rapid.IntRange(0, 5).Draw(t, "pushes") {
			_, _ = s.Push("attic", drawGeneration(t, "pushed"), nil, permitted) // an attacker's
		}
		have := s.Homes[0].Generation
		if _, err := s.Push("attic", have+1, nil, permitted); err != nil {
			t.Fatalf("the gate has %d and refuses the next: %v", have, err)
		}
		if s.Homes[0].Generation == have {
			t.Fatalf("%d was accepted, and is not remembered", have+1)
		}
	})
}

// A push that somebody has numbered with the largest number there is is refused,
// and a gate that took one from an older version heals with the next, which is 0.
func TestTheLargestGenerationPoisonsNothing(t *testing.T) {
	s := New()
	enrol(t, s, "attic", 1)
	wantCode(t, pushed(s, math.MaxUint64), Stale)
	if s.Homes[0].Generation != 0 {
		t.Error("a refused push has left its number")
	}
	s.Homes[0].Generation = math.MaxUint64
	for _, generation := range []uint64{0, 1, 2} {
		if err := pushed(s, generation); err != nil {
			t.Errorf("generation %d: %v", generation, err)
		}
	}
	if err := pushed(s, 2); !errors.Is(err, &Error{Code: Stale}) {
		t.Errorf("the same number once more: %v", err)
	}
}

func pushed(s *State, generation uint64) error {
	_, err := s.Push("attic", generation, nil, permitted)
	return err
}
