package forward

// MaxLead is by how much a number may lead.
//
// The numbers of a home's lists tell a newer one from an older one. A number
// that is far ahead of all that came before would leave no room for later ones:
// the one who pushed it once would have the last word for ever. So a number may lead
// by so much and no more, which a home that counts by ones never does.
const MaxLead = 1 << 32

// Unreachable is beyond what numbers come to by such steps in any time. A gate
// that has a larger one was given it by somebody, before there was a bound; it
// gives way to any other.
const Unreachable = 1 << 63

// Succeeds reports whether a gate that has the list with the number last may
// take the one with the number next. After one that is unreachable any other may
// follow: so its home starts again, with whatever number it counts on from.
func Succeeds(last, next uint64) bool {
	if last > Unreachable {
		return next != last
	}
	return last < next && next <= last+MaxLead
}

// GenerationAfter returns the number of a home's next list, by the last that it
// has used itself and the one that the gate says it has.
//
// The home's own counts as well, because an older list may still be on its way.
// What a gate says is not taken over where it leads nowhere.
func GenerationAfter(own, theirs uint64) uint64 {
	if theirs > Unreachable {
		if own >= MaxLead { // learned from such a gate
			return 1
		}
		return own + 1
	}
	if own < theirs || own >= theirs+MaxLead {
		own = theirs
	}
	return own + 1
}
