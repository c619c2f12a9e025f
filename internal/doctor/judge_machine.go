package doctor

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// earliest is a time that no right clock can show.
var earliest = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// machineJudge gathers the findings about one machine.
type machineJudge struct {
	side  Side
	where string // "this machine", or which
	on    string // where commands are to be given
	drift []Drift
	found []Finding
}

func (j *machineJudge) add(id ID, severity Severity, command, hint, format string, args ...any) {
	j.found = append(j.found, Finding{ID: id, Where: AtMachine, Severity: severity, Sentence: fmt.Sprintf(format, args...), Command: command, On: j.on, Hint: hint})
}

// judgeMachine judges one machine by itself; on is where its commands are to be
// given, "" for here.
func judgeMachine(s Side, on string) []Finding {
	j := &machineJudge{side: s, where: on, on: on, drift: s.Machine.Drift}
	if on == "" {
		j.where, j.on = "this machine", "here"
	}
	j.daemon()
	j.clockAndDisks()
	j.network()
	j.changed()
	j.resources()
	return j.found
}

func (j *machineJudge) daemon() {
	m := j.side.Machine
	if m.NFTTooOld && m.NFT == "" {
		j.add(NFTMissing, Broken, "apt-get install nftables", "or the same with its own package manager",
			"There is no nft on %s, and Gatelodge needs it to load its rules; version %s or newer will do.", j.where, m.NFTNeeded)
	} else if m.NFTTooOld {
		j.add(NFTTooOld, Broken, "apt-get install --only-upgrade nftables", "or the same with its own package manager",
			"nft on %s is version %s, and at least %s is needed to load the rules.", j.where, m.NFT, m.NFTNeeded)
	} else if !j.side.Daemon {
		j.add(DaemonDown, Broken, "gatelodge up", "", "Gatelodge's daemon does not run on %s: it publishes nothing and looks after nothing.", j.where)
	}
}

func (j *machineJudge) clockAndDisks() {
	if j.side.Clock.Before(earliest) {
		j.add(ClockWrong, Broken, "timedatectl set-ntp true", "without systemd: date --set, or its own time service",
			"The clock of %s says it is the year %d; a WireGuard peer refuses handshakes from the past.", j.where, j.side.Clock.Year())
	}
	for _, d := range j.side.Machine.Disks {
		if why := d.trouble(); why != "" {
			j.add(DiskFull, Broken, d.command(), "free space there; what is published now stays, but nothing new can be remembered",
				"%s on %s %s.", d.Path, j.where, why)
		}
	}
}

// network finds settings and networks that keep packets from passing.
func (j *machineJudge) network() {
	m := j.side.Machine
	if o := m.Overlap; o != nil {
		j.add(TunnelOverlap, Broken, "", "set another prefix4 under [tunnel] in the gate's gate.toml and let the homes join again, or renumber the network",
			"The tunnel's addresses %s overlap %s, the network of %s at interface %s: packets for one go to the other.", o.Tunnel, o.Network, j.where, o.Interface)
	}
	switch {
	case m.Forwarding.Needed && !m.Forwarding.On:
		j.add(ForwardingOff, Broken, "gatelodge apply", "then find who switches it off: grep -r ip_forward /etc/sysctl.conf /etc/sysctl.d",
			"%s does not forward packets: net.ipv4.ip_forward is 0.", upperFirst(j.where))
		j.drift = without(without(j.drift, "ip_forward"), ".forwarding")
	case m.Forwarding.Needed && len(m.NotPassing) > 0:
		name := m.NotPassing[0]
		j.add(ForwardingOff, Broken, "sysctl -w net.ipv4.conf."+sysctlWord(name)+".forwarding=1",
			"then find who switches it off for that interface: IPv4Forwarding= of systemd-networkd, or grep -r forwarding /etc/sysctl.conf /etc/sysctl.d",
			"%s does not forward what comes in by interface %s: net.ipv4.conf.%s.forwarding is 0.", upperFirst(j.where), name, name)
		j.drift = without(j.drift, ".forwarding")
	}
	if m.ReversePath == 1 {
		j.add(ReversePath, Broken, "gatelodge apply", "then find who sets it: grep -r rp_filter /etc/sysctl.conf /etc/sysctl.d",
			"%s checks the way back strictly on the tunnel's interface (rp_filter 1), and so drops every visitor.", upperFirst(j.where))
		j.drift = without(j.drift, ".rp_filter")
	}
}

// changed finds why the machine is not as wanted. What the daemon itself could
// not do comes first: that is nobody else's doing.
func (j *machineJudge) changed() {
	m := j.side.Machine
	if len(j.drift) == 0 || m.Overlap != nil {
		return
	}
	switch {
	case len(m.Lacks) > 0:
		j.add(KernelLacks, Broken, "modprobe -a "+strings.Join(words(m.Lacks), " "), "if there is no such module: install the kernel of the distribution, or have the one of this machine built with it",
			"The kernel of %s lacks what Gatelodge's rules need: %s.", j.where, strings.Join(m.Lacks, ", "))
	case m.Sealed && m.Failed != "":
		j.add(SettingsReadOnly, Broken, "", "in a container: let its owner make /proc/sys/net writable for it, or set on the host: "+strings.Join(firstFew(texts(j.drift)), "; "),
			"The kernel's settings can only be read on %s (/proc/sys), so Gatelodge cannot change those that it needs.", j.where)
	case m.Failed != "":
		j.add(Trouble, Broken, "gatelodge status", "", "The daemon on %s cannot set up what it should: %s.", j.where, strings.TrimSuffix(m.Failed, "."))
	default:
		j.add(RuleDeleted, Broken, deleted(j.side.Daemon), "if it happens again, another program on the machine does it: nft monitor; ip monitor",
			"Somebody else has changed what Gatelodge set up on %s: %s.", j.where, strings.Join(firstFew(texts(j.drift)), "; "))
	}
}

func (j *machineJudge) resources() {
	m := j.side.Machine
	if c := m.Conntrack; c.Max > 0 && c.Count >= c.Max-c.Max/20 {
		j.add(ConntrackFull, Broken, fmt.Sprintf("sysctl -w net.netfilter.nf_conntrack_max=%d", 2*c.Max), "to keep it: a file in /etc/sysctl.d",
			"The conntrack table of %s is full (%d of %d): new visitors are dropped.", j.where, c.Count, c.Max)
	}
	if m.Device == "embedded" && m.Automatic && m.KernelHas {
		j.add(EmbeddedDevice, Warning, "systemctl restart gatelodge", "without systemd: gatelodge down, then gatelodge up",
			"%s runs the embedded WireGuard, although its kernel now has its own, which is faster.", upperFirst(j.where))
	}
}

// words leaves out what no command may be made of: it can come from the other
// side.
func words(list []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(w string) bool { return !word.MatchString(w) })
}

// sysctlWord is an interface's name inside the name of a setting, where a dot is
// written as a slash.
func sysctlWord(name string) string {
	if !word.MatchString(name) {
		return "INTERFACE"
	}
	return strings.ReplaceAll(name, ".", "/")
}

// deleted is the command that restores what was deleted.
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

// command shows how full it is.
func (d Disk) command() string {
	if !path.MatchString(d.Path) {
		return "df -hi"
	}
	return "df -hi " + d.Path
}

// path is what a command may name: it can come from the other side.
var path = regexp.MustCompile(`^/[A-Za-z0-9/_.-]*$`)

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
