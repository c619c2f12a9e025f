// Package survey decides whether a machine can be a gate, and what that would
// change on it. Its facts come from a script, over ssh or here, or from a better
// look at this machine: one judge for both.
package survey

import (
	"net/netip"
)

// Facts is what a machine is. Amounts that could not be found out are -1.
type Facts struct {
	UID              int
	System           string // uname -s
	Machine          string // uname -m
	Kernel           string // uname -r
	Distribution     string // ID and ID_LIKE of os-release(5)
	DistributionName string
	Init             string // "systemd", or the name of process 1
	Systemctl        bool   // whether there is a systemctl(1)
	Virtual          string // as systemd-detect-virt(1) says it

	NFT        string // version; "" is none
	NFTPackage string // its state, for dpkg
	APT        bool
	TUN        bool // whether /dev/net/tun can be used
	WireGuard  bool // whether the kernel has it

	Connection netip.AddrPort // of the ssh session, at its server's end
	Addresses  []netip.Addr   // of global scope
	Listeners  []Listener
	listed     map[Listener]bool
	// SSHPorts are those that sshd is known to listen on, by its own word; nil:
	// nobody has asked it.
	SSHPorts   []uint16
	Firewalls  []string // of others, that are active
	Forwarding bool     // whether it passes IPv4 packets on already
	Docker     bool     // whether dockerd(8) is installed

	DiskKiB, StateKiB, MemoryKiB int // under /usr/local and /var/lib; in all

	Program  string   // the installed gatelodge
	Version  string   // "" if it does not start
	Unit     string   // its file
	Disabled bool     // whether systemd does not start it at boot
	Package  string   // "deb", "rpm", "apk"; "" if no package has brought it
	Roles    []string // by the configuration that is there
	States   []string // roles of which keys and enrolments are there
	Kept     []string // folders of gatelodge's that are there and not empty
}

// Arch returns the machine's name as Go spells it, "" if the program does not
// run there.
func (f Facts) Arch() string {
	return map[string]string{
		"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64",
		"armv7l": "arm", "armv8l": "arm", "riscv64": "riscv64",
	}[f.Machine]
}

// public reports whether the internet routes an address.
func public(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !netip.MustParsePrefix("100.64.0.0/10").Contains(a)
}

// Public returns the VPS's addresses that the internet routes.
func (f Facts) Public() []netip.Addr {
	var list []netip.Addr
	for _, a := range f.Addresses {
		if public(a) {
			list = append(list, a)
		}
	}
	return list
}
