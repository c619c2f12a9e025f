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
		notes = append(notes, "the gate runs an older gatelodge that cannot be asked: only this side was looked at; update it there")
	case Refused:
		notes = append(notes, "the gate would not answer: only this side was looked at")
	}
	notes = append(notes, e.Here.Unseen...)
	if e.There != nil {
		for _, u := range e.There.Unseen {
			notes = append(notes, "on the gate: "+u)
		}
	}
	return notes
}

func judgeHome(e Evidence) []Finding {
	found := judgeMachine(e.Here, "")
	if !e.Here.Daemon {
		return append(found, judgeRelays(e.Here)...)
	}
	blocked := blocks(found)
	if tunnel := judgeTunnel(e.Here); len(tunnel) > 0 {
		if !blocked {
			found = append(found, tunnel...)
		}
		return append(found, judgeRelays(e.Here)...)
	}
	if there := e.There; there != nil {
		at := judgeMachine(*there, "the gate")
		blocked = blocked || blocks(at)
		found = slices.Concat(found, at, judgeClocks(e.Here, *there), judgeNames(e.Here, *there), judgeSSH(*there, "the gate"), judgeIPv6(e.Here, *there))
	}
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
	if d, ok := dropAt(s, Input, "udp", 0); ok && !blocked {
		found, blocked = append(found, inputDrop(d, "here")), true
	}
	if !blocked {
		peers := judgePeers(s)
		found = append(found, peers...)
		found = append(found, judgePassing(s)...)
		found = append(found, judgeInside(s, silentHomes(s))...)
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

// earliest is a time that no right clock shows any more.
var earliest = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// judgeMachine judges one machine by itself; on is where its commands are to be
// given, "" for here.
func judgeMachine(s Side, on string) []Finding {
	m, where := s.Machine, "this machine"
	if on == "" {
		on = "here"
	} else {
		where = on
	}
	var found []Finding
	add := func(id ID, severity Severity, command, hint, format string, args ...any) {
		found = append(found, Finding{ID: id, Where: AtMachine, Severity: severity, Sentence: fmt.Sprintf(format, args...), Command: command, On: on, Hint: hint})
	}
	if m.NFTTooOld {
		add(NFTTooOld, Broken, "apt-get install --only-upgrade nftables", "or the same with the package manager that it has",
			"nft on %s is version %s, and at least %s is needed to load the rules.", where, m.NFT, m.NFTNeeded)
	} else if !s.Daemon {
		add(DaemonDown, Broken, "gatelodge up", "", "Gatelodge's daemon does not run on %s: nothing is published by it, or looked after.", where)
	}
	if s.Clock.Before(earliest) {
		add(ClockWrong, Broken, "timedatectl set-ntp true", "without systemd: date --set, or the time service that it has",
			"The clock of %s says it is the year %d; a WireGuard peer refuses handshakes from the past.", where, s.Clock.Year())
	}
	for _, d := range m.Disks {
		if why := d.trouble(); why != "" {
			add(DiskFull, Broken, "df -hi "+d.Path, "free space there; what is published now stays, but nothing new can be remembered",
				"%s on %s %s.", d.Path, where, why)
		}
	}
	if o := m.Overlap; o != nil {
		add(TunnelOverlap, Broken, "", "set another prefix4 under [tunnel] in the gate's gate.toml and let the homes join again, or renumber the network",
			"The tunnel's addresses %s overlap %s, the network of %s at interface %s: packets for one go to the other.", o.Tunnel, o.Network, where, o.Interface)
	}
	drift := m.Drift
	if m.Forwarding.Needed && !m.Forwarding.On {
		add(ForwardingOff, Broken, "gatelodge apply", "then find who switches it off: grep -r ip_forward /etc/sysctl.conf /etc/sysctl.d",
			"%s does not pass packets on: net.ipv4.ip_forward is 0.", upperFirst(where))
		drift = without(drift, "ip_forward")
	}
	if m.ReversePath == 1 {
		add(ReversePath, Broken, "gatelodge apply", "then find who sets it: grep -r rp_filter /etc/sysctl.conf /etc/sysctl.d",
			"%s checks the way back strictly on the tunnel's interface (rp_filter 1), and so drops every visitor.", upperFirst(where))
		drift = without(drift, "rp_filter")
	}
	if len(drift) > 0 && m.Overlap == nil {
		add(RuleDeleted, Broken, deleted(s.Daemon), "if it happens again, another program on the machine does it: nft monitor; ip monitor",
			"What Gatelodge has set up on %s was changed by somebody else: %s.", where, strings.Join(firstFew(drift), "; "))
	}
	if c := m.Conntrack; c.Max > 0 && c.Count >= c.Max-c.Max/20 {
		add(ConntrackFull, Broken, fmt.Sprintf("sysctl -w net.netfilter.nf_conntrack_max=%d", 2*c.Max), "to keep it: a file in /etc/sysctl.d",
			"The connection table of %s is full (%d of %d): new visitors are dropped.", where, c.Count, c.Max)
	}
	if m.Device == "embedded" && m.Automatic && m.KernelHas {
		add(EmbeddedDevice, Warning, "systemctl restart gatelodge", "without systemd: gatelodge down, then gatelodge up",
			"%s runs the embedded WireGuard although its kernel has one by now, which is faster.", upperFirst(where))
	}
	return found
}

// deleted is the command that puts back what was deleted.
func deleted(daemon bool) string {
	if daemon {
		return "gatelodge apply"
	}
	return "gatelodge up"
}

// The least that must be free: the state is small, and written twice.
const (
	leastBytes = 1 << 20
	leastFiles = 8
)

func (d Disk) trouble() string {
	switch {
	case d.ReadOnly:
		return "can only be read: nothing new can be remembered"
	case d.FreeBytes < leastBytes:
		return "is full: nothing new can be remembered"
	case d.LimitFiles && d.FreeFiles < leastFiles:
		return "has no room for another file (its inodes are used up): nothing new can be remembered"
	}
	return ""
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
		Sentence: fmt.Sprintf("The gate's sshd listens at %s only, inside the tunnel: whoever mends the tunnel could not get in.", s.SSHOnlyInTunnel[0]),
		Hint:     "let sshd listen on the public address as well (ListenAddress in /etc/ssh/sshd_config), or make sure of the provider's console"}}
}

func without(lines []string, word string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return strings.Contains(l, word) })
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
