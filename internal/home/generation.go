package home

// Every list of forwards that a home pushes has a number, and a gate that has
// number n takes one of (n, n+generationWindow]. Whoever speaks for a home may
// claim any number there; without the window one claim of the largest number
// would be the last list that the gate ever takes. A number above
// generationPoisoned comes from such a claim, at a gate of a version without
// the window, and gives way to any other.
const (
	generationWindow   = 1 << 32
	generationPoisoned = 1 << 63
)

// generationAfter returns the number of this home's next list, by the last
// that it has used itself and the one that the gate says it has.
//
// The home's own counts as well, because an older list may still be on its way.
// What a gate says is not taken over where it leads nowhere.
func generationAfter(own, theirs uint64) uint64 {
	if theirs > generationPoisoned {
		if own >= generationWindow { // learned from such a gate
			return 1
		}
		return own + 1
	}
	if own < theirs || own >= theirs+generationWindow {
		own = theirs
	}
	return own + 1
}
