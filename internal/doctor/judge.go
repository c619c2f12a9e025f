package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Judge returns the causes of what is wrong, the first broken hop of a
// visitor's way first. What follows from a cause that is named is left out.
func Judge(e Evidence) []Finding {
	if e.Here.Role == "gate" {
		return judgeGate(e.Here)
	}
	return judgeHome(e)
}

// Notes says, for people, what the findings do not rest on.
func Notes(e Evidence) []string {
	var notes []string
	switch e.Missing {
	case Silent:
		notes = append(notes, "the gate did not answer: only this side was looked at")
	case Older:
		notes = append(notes, "the gate runs an older gatelodge that cannot be asked: only this side was looked at; update the gate")
	case Refused:
		notes = append(notes, "the gate would not answer: only this side was looked at")
	}
	notes = append(notes, e.Here.Unseen...)
	if tables := e.Here.Machine.Legacy; len(tables) > 0 {
		notes = append(notes, legacyNote("here", tables))
	}
	notes = append(notes, familyNotes(e)...)
	notes = append(notes, halfNotes(e)...)
	if e.There != nil {
		if tables := e.There.Machine.Legacy; len(tables) > 0 {
			notes = append(notes, legacyNote("on the gate", tables))
		}
		for _, u := range e.There.Unseen {
			notes = append(notes, "on the gate: "+u)
		}
	}
	return notes
}

// familyNotes tells of ports that a container engine publishes by one family: that
// it does is its owner's choice.
func familyNotes(e Evidence) []string {
	var notes []string
	for _, f := range e.Here.Forwards {
		there, known := counterpart(e.There, f)
		if known && there.Inside == Open && there.Inside6 == Closed && len(f.Listeners) == 0 && !f.To.IsValid() {
			notes = append(notes, fmt.Sprintf("%s (%s) answers by IPv4 and refuses visitors who come by IPv6", f.Name, port(f)))
		}
	}
	return notes
}

// legacyNote tells of rules of which a trace shows nothing, and nft(8) neither.
func legacyNote(where string, tables []string) string {
	return fmt.Sprintf("%s iptables-legacy has tables of its own (%s), which neither nft nor a trace shows: iptables-legacy-save lists them", where, strings.Join(tables, ", "))
}

func judgeHome(e Evidence) []Finding {
	found := judgeMachine(e.Here, "")
	if !e.Here.Daemon {
		return append(found, judgeRelays(e.Here)...)
	}
	blocked := blocks(found)
	found = append(found, judgeRival(e.Here)...)
	if tunnel := judgeTunnel(e.Here); len(tunnel) > 0 {
		if !blocked {
			found = append(found, tunnel...)
		}
		return append(found, judgeRelays(e.Here)...)
	}
	if there := e.There; there != nil {
		at := judgeMachine(*there, "the gate")
		if !e.Here.Tunnel.Rival { // else it is said already
			at = append(at, judgeTwins(*there)...)
		}
		blocked = blocked || blocks(at)
		hidden := judgeHidden(*there, AtGate, "the gate")
		blocked = blocked || len(hidden) > 0
		found = slices.Concat(found, at, judgeClocks(e.Here, *there), judgeNames(e.Here, *there), judgeSSH(*there, "the gate"),
			judgeIPv6(e.Here, *there), hidden)
	}
	found = slices.Concat(found, judgeHidden(e.Here, AtHome, "here"), judgeWay4(e))
	found = append(found, judgeForwards(e, blocked)...)
	return slices.Concat(found, judgeRelays(e.Here), lastResort(found, e.Here))
}

func judgeGate(s Side) []Finding {
	found := judgeMachine(s, "")
	if !s.Daemon {
		return append(found, judgeSSH(s, "here")...)
	}
	found = append(found, judgeSSH(s, "here")...)
	blocked := blocks(found)
	found = append(found, judgeHeld(s.Forwards, "here")...)
	hidden := judgeHidden(s, AtGate, "here")
	blocked = blocked || len(hidden) > 0
	found = append(found, hidden...)
	found = append(found, judgeUnserved(s)...)
	if d, ok := deedAt(s, Drops, "udp", 0, Input, Output); ok && !blocked {
		found, blocked = append(found, inputDrop(d, "here")), true
	}
	if !blocked {
		peers := judgePeers(s)
		found = append(found, peers...)
		found = append(found, judgePassing(s)...)
		found = append(found, judgeInside(s, slices.Concat(silentHomes(s), twinHomes(s)))...)
	}
	return append(found, lastResort(found, s)...)
}

// blocks reports whether one of the findings would stop visitors by itself, so
// that lost probes prove nothing more.
func blocks(found []Finding) bool {
	return slices.ContainsFunc(found, func(f Finding) bool {
		return f.Severity == Broken && f.ID != DiskFull && f.ID != ClockWrong
	})
}

// lastResort passes on what the daemon itself complains of, where nothing else
// was found: it is better than silence.
func lastResort(found []Finding, s Side) []Finding {
	if len(found) > 0 || len(s.Machine.Problems) == 0 {
		return nil
	}
	return []Finding{{ID: Trouble, Where: AtMachine, Severity: Broken,
		Sentence: "The daemon reports: " + s.Machine.Problems[0] + ".",
		Command:  "gatelodge status", On: "here"}}
}

// maxSkew is more than what two machines differ by that are both on time.
const maxSkew = 5 * time.Minute

// judgeClocks compares the clocks. One that is absurd has been named already.
func judgeClocks(here, there Side) []Finding {
	skew := here.Clock.Sub(there.Clock)
	if skew.Abs() <= maxSkew || here.Clock.Before(earliest) || there.Clock.Before(earliest) {
		return nil
	}
	which := "ahead of"
	if skew < 0 {
		which = "behind"
	}
	return []Finding{{ID: ClockWrong, Where: AtMachine, Severity: Warning, On: "here",
		Sentence: fmt.Sprintf("This machine's clock is %s %s the gate's: one of them is wrong, and WireGuard refuses handshakes from the past.", span(skew.Abs()), which),
		Command:  "timedatectl set-ntp true", Hint: "and the same on the gate, if it is that one"}}
}

func judgeSSH(s Side, on string) []Finding {
	if len(s.SSHOnlyInTunnel) == 0 {
		return nil
	}
	return []Finding{{ID: SSHInTunnelOnly, Where: AtGate, Severity: Warning, On: on,
		Sentence: fmt.Sprintf("The gate's sshd listens at %s only, inside the tunnel: nobody could get in to fix the tunnel.", s.SSHOnlyInTunnel[0]),
		Hint:     "let sshd listen on the public address as well (ListenAddress in /etc/ssh/sshd_config), or make sure that the provider's console works"}}
}

// without leaves out the settings that end so, or are that one.
func without(drift []Drift, sysctl string) []Drift {
	return slices.DeleteFunc(slices.Clone(drift), func(d Drift) bool { return strings.HasSuffix(d.Sysctl, sysctl) && d.Sysctl != "" })
}

// texts returns drift in words.
func texts(drift []Drift) []string {
	var list []string
	for _, d := range drift {
		list = append(list, d.Text)
	}
	return list
}

// firstFew keeps a sentence readable.
func firstFew(lines []string) []string {
	const few = 3
	if len(lines) <= few {
		return lines
	}
	return append(slices.Clone(lines[:few]), fmt.Sprintf("and %d more", len(lines)-few))
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// span shows a time in a unit that suits it.
func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", int(d.Minutes()))
	default:
		return fmt.Sprintf("%d seconds", int(d.Seconds()))
	}
}
