package registry

import "time"

// The life of an invite is counted, not read off the clock: a clock that goes
// back must not open again what has ended. The count goes on by the time that
// has passed for the gate, as its clock says or as its monotonic clock says,
// whichever is more; it is kept in the State, and so is the end, once that was
// seen. A clock that jumps ahead ends invites, as they would not be worth what
// they promise otherwise; Expire returns them, for the gate to say so.

// countPause is after how long the count is brought up to date in the State, and
// so written down. A gate that is killed and comes back with a wrong clock gives
// an invite no more than that for nothing.
const countPause = 10 * time.Minute

// seen returns when the life of the invite was last counted.
func (v Invite) seen() time.Time {
	switch {
	case !v.Seen.IsZero():
		return v.Seen
	case v.Redeemed():
		return v.RedeemedAt // as older versions have left it
	default:
		return v.Created
	}
}

// age returns how much of its life the invite has had.
func (v Invite) age(now time.Time) time.Duration {
	return v.Lived + max(now.Sub(v.seen()), wall(now).Sub(wall(v.seen())), 0)
}

// wall is a time without its monotonic reading.
func wall(t time.Time) time.Time { return t.Round(0) }

// live reports whether the invite still opens a door at the time now.
func (v Invite) live(now time.Time) bool {
	switch {
	case !v.Ended.IsZero():
		return false
	case v.Redeemed():
		// The clock may have gone back before anybody counted.
		return v.age(now) <= Grace && wall(now).Sub(v.RedeemedAt).Abs() <= Grace
	default:
		return v.age(now) < v.Expires.Sub(v.Created)
	}
}

// Open reports whether the invite waits for its home at the time now.
func (v Invite) Open(now time.Time) bool { return !v.Redeemed() && v.live(now) }

// Answers reports whether a home that comes with the invite is to be answered at
// the time now: while it is live, and for a while longer, so that a late one is
// told why.
func (v Invite) Answers(now time.Time) bool {
	return v.live(now) || wall(now).Sub(v.end(now)).Abs() <= Grace
}

// end returns when the invite ended, or ends now.
func (v Invite) end(now time.Time) time.Time {
	end := v.Expires
	if v.Redeemed() {
		end = v.RedeemedAt
	}
	switch {
	case !v.Ended.IsZero():
		return v.Ended
	case wall(now).Before(end):
		return stamp(now) // its life is over, whatever the clock says
	default:
		return end
	}
}

// remembered reports whether the invite is to be kept at the time now.
func (v Invite) remembered(now time.Time) bool {
	return v.live(now) || wall(now).Sub(v.end(now)).Abs() <= Memory
}

// count brings the count of the invite's life up to date, if that is due, or
// notes its end.
func (v *Invite) count(now time.Time) (changed bool) {
	if !v.Ended.IsZero() {
		return false
	}
	ended := !v.live(now)
	passed := v.age(now) - v.Lived
	wentBack := wall(now).Before(wall(v.seen()))
	if !ended && passed < countPause && !wentBack {
		return false
	}
	if ended {
		v.Ended = v.end(now)
	}
	// The monotonic reading is of use as long as this process lives.
	v.Lived, v.Seen = v.age(now), now
	return true
}

// Passed is what the passing of time has changed.
type Passed struct {
	Ended     []Invite // that nobody has used in time
	Forgotten []string // names of those that were dropped
	Changed   bool
}

// Expire counts the lives of invites, ends those whose time is up, and drops
// those that ended long ago.
func (s *State) Expire(now time.Time) Passed {
	var p Passed
	var kept []Invite
	for _, v := range s.Invites {
		open := v.Ended.IsZero() && !v.Redeemed()
		p.Changed = v.count(now) || p.Changed
		if open && !v.Ended.IsZero() {
			p.Ended = append(p.Ended, v)
		}
		if v.remembered(now) {
			kept = append(kept, v)
		} else {
			p.Forgotten, p.Changed = append(p.Forgotten, v.Name), true
		}
	}
	s.Invites = kept
	p.Changed = forgetFormer(s, now) || p.Changed
	return p
}
