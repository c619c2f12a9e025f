package forward

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// drawGeneration draws numbers that meet, lie a lead apart, or are at an end.
func drawGeneration(t *rapid.T, name string) uint64 {
	near := rapid.Uint64Range(0, 4).Draw(t, name+" near")
	around := rapid.SampledFrom([]uint64{2, MaxLead, 2 * MaxLead, Unreachable, Unreachable + MaxLead, math.MaxUint64 - 2}).Draw(t, name+" around")
	return around + near - 2
}

// The rule itself: newer, but not by much; and no number twice in a row.
func TestWhichGenerationsSucceed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		last, next := drawGeneration(t, "last"), drawGeneration(t, "next")
		want := last < next && next-last <= MaxLead
		if last > Unreachable {
			want = next != last
		}
		if Succeeds(last, next) != want {
			t.Fatalf("after %d, %d succeeds: %v", last, next, !want)
		}
	})
}

// What a home counts on from is always taken, whatever the two sides have.
func TestTheNextGenerationSucceeds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		own, theirs := drawGeneration(t, "own"), drawGeneration(t, "theirs")
		if next := GenerationAfter(own, theirs); !Succeeds(theirs, next) {
			t.Fatalf("the gate has %d, home %d, and %d does not follow", theirs, own, next)
		}
	})
}
