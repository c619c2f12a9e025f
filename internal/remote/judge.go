package remote

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Wish is what is wanted of a VPS, and what this side can do for it.
type Wish struct {
	Port           uint16 // for WireGuard, UDP
	WithoutService bool   // a gate that does not come back after a reboot will do
	Leave          bool   // what arrives for the VPS itself is not to be filtered
	IPv4, IPv6     bool   // whether this side has a route of that family
	Named          bool   // the owner says at which address the VPS is reached
}

// Verdict is what follows from a look.
type Verdict struct {
	Refusals []Refusal
	Notes    []string // what the owner should know
	// What there is to do, in this order.
	InstallNFT bool // by apt-get
	Bring      bool // the program
	Init       bool // make it a gate
	Enable     bool // have the gate that it is start at boot
}

// Refusal says why it cannot be, and what to do about it.
type Refusal struct{ Why, Hint string }

// The least that is needed.
const (
	oldestNFT     = "1.0.2"
	leastDiskKiB  = 96 << 10 // the program twice while it is replaced
	leastStateKiB = 8 << 10
	fewMemoryKiB  = 200 << 10
)

// Judge decides whether a VPS can be a gate, and what has to be done for it.
// It lists all that stands in the way, not only the first.
func Judge(f Found, w Wish) Verdict {
	if f.System != "Linux" {
		return Verdict{Refusals: []Refusal{{"it runs " + f.System + "; a gate is a Linux machine", "a VPS with Debian 12 does"}}}
	}
	var v Verdict
	v.judgeRole(f)
	v.judgeState(f)
	v.judgeMachine(f)
	v.judgeTunnel(f)
	v.judgeNFT(f)
	v.judgeInit(f, w)
	if v.Init {
		v.judgePort(f, w)
		v.judgeAddresses(f, w)
		v.noteFirewalls(f, w)
		v.noteClosing(f, w)
	}
	return v
}

func (v *Verdict) refuse(hint, format string, args ...any) {
	v.Refusals = append(v.Refusals, Refusal{fmt.Sprintf(format, args...), hint})
}

func (v *Verdict) note(format string, args ...any) {
	v.Notes = append(v.Notes, fmt.Sprintf(format, args...))
}

// judgeState refuses a machine that has lost its role and not its keys: a new
// gate would not run with them, and taking it back would remove them.
func (v *Verdict) judgeState(f Found) {
	if len(f.Roles) > 0 {
		return
	}
	for _, role := range f.States {
		v.refuse(fmt.Sprintf("there, put %s.toml back; or, if it is a %s no longer, move /var/lib/gatelodge away", role, role), "it still has the keys of a %s, without /etc/gatelodge/%s.toml", role, role)
	}
}

// judgeRole finds out what of a gate is there already.
func (v *Verdict) judgeRole(f Found) {
	v.Init = !slices.Contains(f.Roles, "gate")
	if slices.Contains(f.Roles, "home") {
		v.refuse("a gate is another machine; if this one is a home no longer, there: gatelodge uninstall --purge", "it is a home already (it has /etc/gatelodge/home.toml)")
	}
	installed := f.Program != "" && (f.Unit != "" || f.Init != "systemd")
	switch {
	case f.Program != "" && f.Package != "":
		v.note("it has gatelodge %s from a package, which is used", f.Version)
	case installed && !v.Init:
		v.note("it has gatelodge %s at %s, which is used", f.Version, f.Program)
	case f.Program != "":
		v.Bring = true
		v.note("it has gatelodge %s at %s, left unfinished or older: this one replaces it", f.Version, f.Program)
	default:
		v.Bring = true
	}
	if !v.Init {
		v.Enable = f.Init == "systemd" && f.Disabled
		v.note("it is a gate already: its gate.toml stays, only a new home is invited")
	}
}

// Arch returns the machine's name as Go spells it, "" if the program does not
// run there.
func (f Found) Arch() string {
	return map[string]string{
		"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64",
		"armv7l": "arm", "armv8l": "arm", "riscv64": "riscv64",
	}[f.Machine]
}

func (v *Verdict) judgeMachine(f Found) {
	if f.Arch() == "" {
		v.refuse("a VPS with an x86-64 or an ARM processor does", "its processor is %s, for which there is no gatelodge", f.Machine)
	}
	if v.Bring && f.DiskKiB >= 0 && f.DiskKiB < leastDiskKiB {
		v.refuse("make room there: journalctl --vacuum-size=50M; apt-get clean", "only %d MB are free under /usr/local, %d are needed", f.DiskKiB>>10, leastDiskKiB>>10)
	}
	if f.StateKiB >= 0 && f.StateKiB < leastStateKiB {
		v.refuse("make room there: journalctl --vacuum-size=50M; apt-get clean", "only %d MB are free under /var/lib, %d are needed", f.StateKiB>>10, leastStateKiB>>10)
	}
	if f.MemoryKiB >= 0 && f.MemoryKiB < fewMemoryKiB {
		v.note("it has only %d MB of memory: enough for some forwards, not for thousands", f.MemoryKiB>>10)
	}
}

// judgeTunnel looks for something that WireGuard can run on.
func (v *Verdict) judgeTunnel(f Found) {
	switch {
	case f.WireGuard:
	case f.TUN:
		v.note("its kernel has no WireGuard: the embedded one is used, over /dev/net/tun")
	case isContainer(f.Virtual):
		v.refuse("ask the provider to switch TUN on for this VPS (many panels have a button), or take one on KVM", "it is a container (%s) that has neither WireGuard nor /dev/net/tun", f.Virtual)
	default:
		hint := "install the kernel of its distribution, or load a module by hand to see why it does not: modprobe tun"
		if older(f.Kernel, "5.6") {
			hint = "Linux has WireGuard since 5.6: install a newer kernel, or the module tun for this one"
		}
		v.refuse(hint, "its kernel %s has neither WireGuard nor /dev/net/tun", f.Kernel)
	}
}

func isContainer(virtual string) bool {
	return slices.Contains([]string{"openvz", "lxc", "lxc-libvirt", "docker", "podman", "systemd-nspawn", "container-other"}, virtual)
}

func (v *Verdict) judgeNFT(f Found) {
	switch {
	case f.NFT == "" && f.APT && f.NFTPackage == "installed":
		v.refuse("there: apt-get install --reinstall nftables", "its package nftables is installed, and still there is no program nft")
	case f.NFT == "" && f.APT:
		v.InstallNFT = true
	case f.NFT == "":
		v.refuse("there: "+installs(f.Distribution), "it has no nft, the program of nftables")
	case older(f.NFT, oldestNFT):
		v.refuse("upgrade it: Debian 12, Ubuntu 22.04 and later have one that is new enough", "its nft is %s, and %s or newer is needed", f.NFT, oldestNFT)
	}
}

// installs says how a distribution installs nftables.
func installs(distribution string) string {
	for _, d := range []struct{ ids, how string }{
		{"alpine", "apk add nftables"}, {"arch", "pacman -S nftables"}, {"suse opensuse sles", "zypper install nftables"},
		{"fedora rhel centos rocky almalinux", "dnf install nftables"},
	} {
		for _, id := range strings.Fields(distribution) {
			if slices.Contains(strings.Fields(d.ids), id) {
				return d.how
			}
		}
	}
	return "install the package nftables"
}

func (v *Verdict) judgeInit(f Found, w Wish) {
	switch {
	case f.Init == "systemd" && !f.Systemctl:
		v.refuse("there: apt-get install --reinstall systemd (or what reinstalls it in that distribution)",
			"it runs systemd, but has no systemctl, by which gatelodge becomes a service")
	case f.Init == "systemd":
	case w.WithoutService:
		v.note("it has no systemd: after each of its reboots somebody must run there: gatelodge up")
	default:
		v.refuse("with --without-service it is set up all the same: after each reboot of the VPS somebody must run there: gatelodge up",
			"it has no systemd, so the gate would not come back after a reboot")
	}
}

// judgePort looks who holds WireGuard's port.
func (v *Verdict) judgePort(f Found, w Wish) {
	for _, l := range f.Listeners {
		if l.Protocol != "udp" || l.Port != w.Port || l.loopback() {
			continue
		}
		who := "something of its kernel, a WireGuard interface perhaps,"
		if l.Process != "" {
			who = l.Process
		}
		v.refuse("stop it there, or choose another port: --listen-port "+strconv.Itoa(int(w.Port)+1), "%s holds UDP port %d there, which WireGuard is to have", who, w.Port)
		return
	}
}

// judgeAddresses makes sure that this side can send to the VPS at all.
func (v *Verdict) judgeAddresses(f Found, w Wish) {
	var four, six bool
	for _, a := range f.Addresses {
		if public(a) {
			four, six = four || a.Is4(), six || a.Is6()
		}
	}
	if w.Named || !four && !six || four && w.IPv4 || six && w.IPv6 {
		return
	}
	has, lacks := "IPv4", "IPv6"
	if w.IPv6 {
		has, lacks = "IPv6", "IPv4"
	}
	if !w.IPv4 && !w.IPv6 {
		has = "no route to the internet"
	}
	v.refuse("give the VPS an "+has+" address, or this machine "+lacks, "no common address family: its public addresses are %s only, this machine has %s only", lacks, has)
}

// public reports whether the internet routes an address.
func public(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !netip.MustParsePrefix("100.64.0.0/10").Contains(a)
}

// Public returns the VPS's addresses that the internet routes.
func (f Found) Public() []netip.Addr {
	var list []netip.Addr
	for _, a := range f.Addresses {
		if public(a) {
			list = append(list, a)
		}
	}
	return list
}

// noteFirewalls says what others' firewalls may need. Gatelodge does not touch
// them: a packet must pass them and ours.
func (v *Verdict) noteFirewalls(f Found, w Wish) {
	for _, name := range f.Firewalls {
		switch name {
		case "ufw":
			v.note("ufw is active there, and stays. It must let WireGuard and forwarded packets through: ufw allow %d/udp; ufw route allow out on gatelodge", w.Port)
		case "firewalld":
			v.note("firewalld is active there, and stays. It must let WireGuard and forwarded packets through: firewall-cmd --permanent --add-port=%d/udp; firewall-cmd --permanent --zone=trusted --add-interface=gatelodge; firewall-cmd --reload", w.Port)
		case "nftables":
			v.note("nftables.service loads a ruleset of its own there, which stays: it must let UDP port %d in, and forwarded packets through", w.Port)
		default:
			v.note("%s is active there, and stays: it must let UDP port %d in, and forwarded packets through", name, w.Port)
		}
	}
}

// noteClosing lists what is reachable on the VPS now, and will not be any more.
func (v *Verdict) noteClosing(f Found, w Wish) {
	if w.Leave {
		return
	}
	var told []string
	for _, l := range f.Listeners {
		if l.loopback() || f.ofSSH(l) || l.ofDHCP() || slices.Contains(told, l.Service()) {
			continue
		}
		if len(told) == maxTold {
			v.note("more than %d ports are open there, and the others will be closed as well", maxTold)
			return
		}
		told = append(told, l.Service())
		name, closed := l.Process, "and will be closed"
		if name == "" { // without a sudo that asks nothing; gate init will see it
			name, closed = "something", "and will be closed, unless it is sshd"
		}
		v.note("%s is listening on %s there %s; --input leave leaves it open, or accept = [%q] under [firewall] in gate.toml", name, l.Service(), closed, l.Service())
	}
}

// ofSSH reports whether the gate's policy leaves the port open anyway, because
// sshd listens there; where our own connection came in, it is sshd.
func (f Found) ofSSH(l Listener) bool {
	return l.Process == "sshd" && !l.Users || l.Protocol == "tcp" && (l.Port == 22 || l.Port == f.Connection.Port())
}

// older reports whether one version is older than another, by their leading
// numbers. What has none is not called old.
func older(version, than string) bool {
	a, b := numbers(version), numbers(than)
	if len(a) == 0 {
		return false
	}
	return slices.Compare(a, b) < 0
}

func numbers(version string) []int {
	var list []int
	for part := range strings.SplitSeq(strings.TrimPrefix(version, "v"), ".") {
		digits := part[:len(part)-len(strings.TrimLeft(part, "0123456789"))]
		n, err := strconv.Atoi(digits)
		if err != nil {
			break
		}
		list = append(list, n)
		if digits != part {
			break
		}
	}
	return list
}
