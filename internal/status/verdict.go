package status

import (
	"fmt"
	"strings"
	"time"
)

// Level says how well things are.
type Level string

// The levels, and what a script is told of them.
const (
	OK      Level = "ok"
	Warning Level = "warning" // something of it is not well
	Down    Level = "down"    // nobody can reach anything, or the daemon does not run
)

// Verdict says in one sentence how a gate or a home stands.
type Verdict struct {
	Level Level  `json:"level"`
	Text  string `json:"text"`
	Hint  string `json:"hint,omitempty"` // the next command to try
}

// old is after how long it is worth saying that a report is not of now. The daemon
// looks every two seconds.
const old = 15 * time.Second

// starting is for how long after its start nobody need have been heard by a daemon.
const starting = 10 * time.Second

// Judge returns the verdict on a report, as of now. It says what the report knows,
// and no more: a forward is reachable where the gate forwards it and the tunnel is
// up; whether a service answers, the doctor finds out.
func (r Report) Judge(now time.Time) Verdict {
	if !r.Running {
		return Verdict{Down, "the daemon is not running", "gatelodge up"}
	}
	v := r.judgeHome(now)
	if r.Role == "gate" {
		v = r.judgeGate(now)
	}
	if v.Level != OK {
		return v
	}
	return r.judgeMachine(v, now)
}

// IsOld reports whether what a report says was so some time ago.
func (r Report) IsOld(now time.Time) bool { return !r.Seen.IsZero() && now.Sub(r.Seen) > old }

// doctor is what to ask next where the report does not say why.
const doctor = "gatelodge doctor"

// judgeMachine is about what is the same on both sides, where all else is well.
func (r Report) judgeMachine(v Verdict, now time.Time) Verdict {
	wrong := ""
	switch {
	case len(r.Problems) > 0:
		wrong = Counted(len(r.Problems), "problem")
	case len(r.Drift) > 0:
		wrong = "this machine is not as wanted"
	case r.IsOld(now):
		wrong = fmt.Sprintf("the daemon could not look at this machine for %s", Span(now.Sub(r.Seen)))
	default:
		return v
	}
	return Verdict{Warning, v.Text + ", but " + wrong, doctor}
}

func (r Report) judgeHome(now time.Time) Verdict {
	for _, l := range r.Gates {
		switch {
		case l.Connected:
		case l.Carries:
			return Verdict{Warning, "the tunnel works, but the gate's daemon does not answer" + lastHeard(l.Peer, now), doctor}
		case l.Peer.lastHeard().IsZero() && now.Sub(r.Since) < starting:
			return Verdict{Warning, "the gate has not answered yet", "gatelodge status --watch"}
		default:
			return Verdict{Down, "nobody can reach this home: " + r.silence(l.Peer, now), doctor}
		}
	}
	refused, pending := r.inState(Refused), r.inState(Pending)
	total := len(r.Forwards)
	reachable := total - len(refused) - len(pending)
	switch {
	case len(r.Gates) == 0:
		return Verdict{Down, "nobody can reach this home: it has no gate", "gatelodge join INVITE"}
	case total == 0:
		return Verdict{OK, "connected to the gate; nothing is published yet", "gatelodge expose PORT"}
	case len(refused) > 0:
		return Verdict{Warning, outOf(reachable, total) + " reachable: " + refusals(refused), ""}
	case len(pending) > 0:
		return Verdict{Warning, outOf(reachable, total) + " reachable: the gate has not answered for " + names(pending), doctor}
	}
	return Verdict{OK, Counted(total, "forward") + " reachable" + r.lastVisit(now), ""}
}

func (r Report) judgeGate(now time.Time) Verdict {
	switch {
	case !r.Tunnel.Up:
		return Verdict{Down, fmt.Sprintf("nobody can reach any home: the tunnel's interface %s is not up", r.Tunnel.Interface), doctor}
	case r.Input != nil && r.Input.State == OnTrial:
		return Verdict{Warning, fmt.Sprintf("the input policy is on trial: reverted in %s unless it is confirmed", Span(r.Input.Left)), "gatelodge confirm"}
	case len(r.Homes) == 0:
		return Verdict{OK, "ready; no homes yet", "gatelodge gate invite NAME"}
	}
	silent := []Home{}
	for _, h := range r.Homes {
		if !h.Connected {
			silent = append(silent, h)
		}
	}
	switch {
	case len(silent) == 1:
		return Verdict{Warning, "home " + silent[0].Name + silentFor(silent[0].Peer, now), doctor}
	case len(silent) > 1:
		list := make([]string, len(silent))
		for i, h := range silent {
			list[i] = h.Name
		}
		return Verdict{Warning, fmt.Sprintf("%d of %s silent: %s", len(silent), Counted(len(r.Homes), "home"), some(list)), doctor}
	}
	granted := len(r.Forwards) - len(r.inState(Refused))
	return Verdict{OK, fmt.Sprintf("%s connected, %s", Counted(len(r.Homes), "home"), Counted(granted, "forward")) + r.lastVisit(now), ""}
}

// lastHeard returns when the other end was last there, as far as is known.
func (p Peer) lastHeard() time.Time {
	if p.LatestHandshake.After(p.Heard) {
		return p.LatestHandshake
	}
	return p.Heard
}

// silence says for how long the gate has not answered.
func (r Report) silence(p Peer, now time.Time) string {
	heard := p.lastHeard()
	if heard.IsZero() {
		return fmt.Sprintf("no answer from the gate since the daemon's start %s ago", Span(now.Sub(r.Since)))
	}
	return fmt.Sprintf("no answer from the gate for %s", Span(now.Sub(heard))) + lastHeard(p, now)
}

func lastHeard(p Peer, now time.Time) string {
	if p.lastHeard().IsZero() {
		return ""
	}
	return fmt.Sprintf(" (last heard %s)", At(now, p.lastHeard()))
}

// silentFor says of a home on a gate for how long nothing has come from it.
func silentFor(p Peer, now time.Time) string {
	if p.lastHeard().IsZero() {
		return " has not been heard since the daemon's start"
	}
	return fmt.Sprintf(" is silent for %s", Span(now.Sub(p.lastHeard()))) + lastHeard(p, now)
}

// lastVisit says when a visitor was last there, if that is known.
func (r Report) lastVisit(now time.Time) string {
	var last time.Time
	for _, f := range r.Forwards {
		if f.LastConnection.After(last) {
			last = f.LastConnection
		}
	}
	if last.IsZero() {
		return ""
	}
	return fmt.Sprintf(", last visitor %s ago", Span(now.Sub(last)))
}

func (r Report) inState(s State) []Forward {
	var list []Forward
	for _, f := range r.Forwards {
		if f.State == s {
			list = append(list, f)
		}
	}
	return list
}

func outOf(n, total int) string { return fmt.Sprintf("%d of %s", n, Counted(total, "forward")) }

func refusals(list []Forward) string {
	if len(list) > 1 {
		return names(list) + " are refused"
	}
	if list[0].Reason == "" {
		return list[0].Name + " is refused"
	}
	return list[0].Name + " is refused: " + list[0].Reason
}

func names(list []Forward) string {
	text := make([]string, len(list))
	for i, f := range list {
		text[i] = f.Name
	}
	return some(text)
}

// some names the first few of a list.
func some(list []string) string {
	const most = 4
	if len(list) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:most-1], ", "), len(list)-most+1)
	}
	if last := len(list) - 1; last > 0 {
		return strings.Join(list[:last], ", ") + " and " + list[last]
	}
	return strings.Join(list, "")
}
