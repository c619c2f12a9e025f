package registry

// The numbers of a home's pushes tell a newer list from an older one. A number
// that is far ahead of all that came before would leave no room for later ones:
// whoever pushed it once would have the last word for ever. So a number may lead
// by so much and no more, which a home that counts by ones never does.
const maxLead = 1 << 32

// unreachable is beyond what numbers come to by such steps in any time. A gate
// that has a larger one was given it by somebody, before there was a bound.
const unreachable = 1 << 63

// succeeds reports whether a push with the number next may replace the one with
// the number last. After one that is unreachable any other may: so its home
// begins anew, with whatever number it counts on from.
func succeeds(last, next uint64) bool {
	if last > unreachable {
		return next != last
	}
	return last < next && next <= last+maxLead
}

// stale says why a push may not replace the last one.
func stale(last, next uint64) error {
	if next > last {
		return refuse(Stale, "the gate has generation %d of this home's forwards, and %d is too far ahead of it to be the next", last, next)
	}
	return refuse(Stale, "the gate has generation %d of this home's forwards, which is not older than %d; is a second copy of this home running?", last, next)
}
