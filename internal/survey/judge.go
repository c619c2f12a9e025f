package survey

import (
	"fmt"
	"slices"
	"strings"
)

// Wish is what is wanted of a machine, and what the one who wants it can do for it.
type Wish struct {
	// Here says that the machine is the one on which the question is asked, by
	// its owner: gatelodge runs there already, nothing is installed for it, and
	// nobody has to reach it yet.
	Here           bool
	Port           uint16 // for WireGuard, UDP
	WithoutService bool   // a gate that does not come back after a reboot will do
	Leave          bool   // what arrives for the machine itself is not to be filtered
	IPv4, IPv6     bool   // whether the home has a route of that family
	Named          bool   // the owner says at which address the machine is reached
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

	at, run string // where the machine is, and what stands before a command for it
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

// Judge decides whether a machine can be a gate, and what has to be done for it.
// It lists all that stands in the way, not only the first.
func Judge(f Facts, w Wish) Verdict {
	v := Verdict{at: "there", run: "there: "}
	if w.Here {
		v.at, v.run = "here", ""
	}
	if f.System != "Linux" {
		v.refuse("a VPS with Debian 12 will do", "it runs %s; a gate is a Linux machine", f.System)
		return v
	}
	v.judgeRole(f, w)
	v.judgeState(f)
	v.judgeMachine(f)
	v.judgeTunnel(f)
	v.judgeNFT(f, w)
	v.judgeInit(f, w)
	if v.Init {
		v.judgePort(f, w)
		v.judgeAddresses(f, w)
		v.noteFirewalls(f, w)
		v.noteDocker(f)
		v.noteClosing(f, w)
	}
	return v
}

// JudgeHome lists what keeps the machine on which it is asked from being a home.
func JudgeHome(f Facts) []Refusal {
	v := Verdict{at: "here"}
	v.judgeTunnel(f)
	v.judgeNFT(f, Wish{Here: true})
	return v.Refusals
}

func (v *Verdict) refuse(hint, format string, args ...any) {
	v.Refusals = append(v.Refusals, Refusal{fmt.Sprintf(format, args...), hint})
}

func (v *Verdict) note(format string, args ...any) {
	v.Notes = append(v.Notes, fmt.Sprintf(format, args...))
}

// judgeState refuses a machine that has lost its role and not its keys: a new
// gate would not run with them, and undoing it would remove them.
func (v *Verdict) judgeState(f Facts) {
	if len(f.Roles) > 0 {
		return
	}
	for _, role := range f.States {
		v.refuse(fmt.Sprintf("%srestore %s.toml; or, if it is no longer a %s, move /var/lib/gatelodge away", v.run, role, role), "it still has the keys of a %s, without /etc/gatelodge/%s.toml", role, role)
	}
}

// judgeRole finds out what of a gate is there already.
func (v *Verdict) judgeRole(f Facts, w Wish) {
	v.Init = !slices.Contains(f.Roles, "gate")
	if slices.Contains(f.Roles, "home") {
		v.refuse("a gate and its homes are different machines; if it is no longer a home, "+v.run+"gatelodge leave", "it is a home already (it has /etc/gatelodge/home.toml)")
	}
	if w.Here {
		return
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

func (v *Verdict) judgeMachine(f Facts) {
	if f.Arch() == "" {
		v.refuse("a VPS with an x86-64 or an ARM processor will do", "its processor is %s, for which there is no gatelodge", f.Machine)
	}
	if v.Bring && f.DiskKiB >= 0 && f.DiskKiB < leastDiskKiB {
		v.refuse("make room "+v.at+": journalctl --vacuum-size=50M; apt-get clean", "only %d MB are free under /usr/local, %d are needed", f.DiskKiB>>10, leastDiskKiB>>10)
	}
	if f.StateKiB >= 0 && f.StateKiB < leastStateKiB {
		v.refuse("make room "+v.at+": journalctl --vacuum-size=50M; apt-get clean", "only %d MB are free under /var/lib, %d are needed", f.StateKiB>>10, leastStateKiB>>10)
	}
	if f.MemoryKiB >= 0 && f.MemoryKiB < fewMemoryKiB {
		v.note("it has only %d MB of memory: enough for some forwards, not for thousands", f.MemoryKiB>>10)
	}
}

// judgeTunnel looks for something that WireGuard can run on.
func (v *Verdict) judgeTunnel(f Facts) {
	switch {
	case f.WireGuard:
	case f.TUN && v.at == "here": // DeviceText says it
	case f.TUN:
		v.note("its kernel has no WireGuard: the embedded one is used, over /dev/net/tun")
	case isContainer(f.Virtual):
		v.refuse("ask the provider to switch TUN on for this VPS (many panels have a button), or take one on KVM", "it is a container (%s) that has neither WireGuard nor /dev/net/tun", f.Virtual)
	default:
		hint := "install the kernel of its distribution, or load the module by hand to see why that fails: modprobe tun"
		if older(f.Kernel, "5.6") {
			hint = "Linux has WireGuard since 5.6: install a newer kernel, or the module tun for this one"
		}
		v.refuse(hint, "its kernel %s has neither WireGuard nor /dev/net/tun", f.Kernel)
	}
}

func isContainer(virtual string) bool {
	return slices.Contains([]string{"openvz", "lxc", "lxc-libvirt", "docker", "podman", "systemd-nspawn", "container-other"}, virtual)
}

func (v *Verdict) judgeNFT(f Facts, w Wish) {
	switch {
	case f.NFT == "" && f.APT && f.NFTPackage == "installed":
		v.refuse(v.run+"apt-get install --reinstall nftables", "its package nftables is installed, but the program nft is missing")
	case f.NFT == "" && f.APT && w.Here:
		v.refuse("apt-get install nftables", "it has no nft, the program of nftables")
	case f.NFT == "" && f.APT:
		v.InstallNFT = true
	case f.NFT == "":
		v.refuse(v.run+installs(f.Distribution), "it has no nft, the program of nftables")
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

// judgeInit asks what starts a gate at boot. Here that is for the command up to
// say.
func (v *Verdict) judgeInit(f Facts, w Wish) {
	switch {
	case w.Here:
	case f.Init == "systemd" && !f.Systemctl:
		v.refuse("there: apt-get install --reinstall systemd (or what reinstalls it in that distribution)",
			"it runs systemd, but has no systemctl, which installs the service gatelodge")
	case f.Init == "systemd":
	case w.WithoutService:
		v.note("it has no systemd: after each of its reboots somebody must run gatelodge up there")
	default:
		v.refuse("with --without-service it is set up all the same; somebody must then run gatelodge up on the VPS after each reboot",
			"it has no systemd, so the gate would not come back after a reboot")
	}
}
