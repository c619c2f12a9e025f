package control

import (
	"net/netip"
	"time"
)

// Look is what a gate has found on itself, as far as it concerns the home that
// asks. Texts are for people, or words that the judge on the other side knows.
type Look struct {
	Role    string      `json:"role"`              // "gate"
	Version string      `json:"version,omitempty"` // of gatelodge there
	Daemon  bool        `json:"daemon"`            // whether it runs
	Clock   time.Time   `json:"clock"`             // the wall's, when it was looked at
	Machine LookMachine `json:"machine"`
	// Public are the gate's addresses at which visitors arrive.
	Public []netip.Addr `json:"public,omitempty"`
	// Unserved are other addresses of the gate that the internet knows, at which
	// visitors find nothing.
	Unserved []LookUnserved `json:"unserved,omitempty"`
	// SSHOnlyInTunnel are the listeners of the gate's sshd, if all of them are
	// addresses of the tunnel.
	SSHOnlyInTunnel []netip.AddrPort `json:"ssh_only_in_tunnel,omitempty"`
	Homes           []LookHome       `json:"homes,omitempty"`
	Forwards        []LookForward    `json:"forwards,omitempty"`
	// Drops are verdicts of others that were seen, or read, to defeat ours.
	Drops []LookDrop `json:"drops,omitempty"`
	// Unseen says what could not be looked at, and why.
	Unseen []string `json:"unseen,omitempty"`
}

// LookUnserved is a public address of a gate at which nothing is published.
type LookUnserved struct {
	Addr      netip.Addr `json:"addr"`
	Interface string     `json:"interface"`
}

// LookMachine is what was found out about a machine itself.
type LookMachine struct {
	NFT        string     `json:"nft,omitempty"`        // version of nft(8); empty: there is none
	NFTTooOld  bool       `json:"nft_too_old"`          // it does not read our rules
	NFTNeeded  string     `json:"nft_needed,omitempty"` // the oldest that does
	Device     string     `json:"device,omitempty"`     // "kernel" or "embedded"
	Automatic  bool       `json:"device_automatic"`     // it was not chosen by the owner
	KernelHas  bool       `json:"kernel_has_wireguard"` // the kernel would make a device now
	Disks      []LookDisk `json:"disks,omitempty"`      // that we write to
	Forwarding LookToggle `json:"forwarding"`           // net.ipv4.ip_forward
	// ReversePath is the check in force on the tunnel's interface: the larger
	// of its rp_filter and that of all interfaces (ip-sysctl.rst); 1 is strict.
	ReversePath int           `json:"reverse_path"`
	Conntrack   LookConntrack `json:"conntrack"`
	// Drift lists, in words, where the machine is not as wanted.
	Drift []string `json:"drift,omitempty"`
	// DriftSysctls has, for each of these, the name of the setting, or "".
	DriftSysctls []string `json:"drift_sysctls,omitempty"`
	Problems     []string `json:"problems,omitempty"` // of the daemon's last round
	// Failed is why that round could not set the machine up; empty: it could.
	Failed string `json:"failed,omitempty"`
	// Lacks lists what our rules need and this kernel does not have, as the
	// modules that bring it.
	Lacks []string `json:"kernel_lacks,omitempty"`
	// Sealed is set where the kernel's settings can only be read.
	Sealed bool `json:"settings_read_only,omitempty"`
	// StateUnseen is set where the machine's own state could not be looked at:
	// what is not in it may be there all the same.
	StateUnseen bool `json:"state_unseen,omitempty"`
	// NotPassing are interfaces from which IPv4 packets are not passed on,
	// although the machine passes on those of others.
	NotPassing []string `json:"not_passing,omitempty"`
	// Legacy names the tables of iptables-legacy here.
	Legacy []string `json:"legacy_tables,omitempty"`
	// NoWay4 is set where no route leads to the internet by IPv4.
	NoWay4  bool         `json:"no_ipv4_route,omitempty"`
	Overlap *LookOverlap `json:"overlap,omitempty"`
	IPv6    bool         `json:"ipv6"` // whether the tunnel's interface has an IPv6 address
}

// LookToggle is a setting that is needed, or not, and on, or not.
type LookToggle struct {
	Needed bool `json:"needed"`
	On     bool `json:"on"`
}

// LookDisk is a file system that we write to.
type LookDisk struct {
	Path       string `json:"path"`
	FreeBytes  uint64 `json:"free_bytes"`  // for the daemon's user
	FreeFiles  uint64 `json:"free_files"`  // that can still be made
	LimitFiles bool   `json:"limit_files"` // whether the file system bounds them
	ReadOnly   bool   `json:"read_only"`
}

// LookConntrack is how many connections the kernel tracks, and may at most.
type LookConntrack struct {
	Count uint64 `json:"count"`
	Max   uint64 `json:"max"`
}

// LookOverlap is a network that means the same addresses as the tunnel.
type LookOverlap struct {
	Tunnel    netip.Prefix `json:"tunnel"`
	Network   netip.Prefix `json:"network"`
	Interface string       `json:"interface"`
}

// LookHome is a home as its gate sees it.
type LookHome struct {
	Name      string         `json:"name"`
	Endpoint  netip.AddrPort `json:"endpoint,omitzero"`
	Handshake time.Duration  `json:"handshake_age,omitempty"` // nanoseconds; 0: none
	Heard     bool           `json:"heard"`                   // bytes came while we listened
	// Flapped are the two addresses between which the endpoint went back and
	// forth while we listened.
	Flapped []netip.AddrPort `json:"flapped,omitempty"`
	// Twins is set where two runs of the home's daemon were heard at once, of
	// which the later one has the tunnel.
	Twins bool `json:"twins,omitempty"`
}

// LookForward is one published port, and what the gate knows of its visitors.
type LookForward struct {
	Name     string `json:"name"`
	Home     string `json:"home,omitempty"`
	Protocol string `json:"protocol"` // "tcp" or "udp"
	Port     uint16 `json:"port"`     // at the gate
	Granted  bool   `json:"granted"`
	Reason   string `json:"reason,omitempty"`  // why it was refused
	Inside   string `json:"inside,omitempty"`  // of a probe to home, through the tunnel
	Inside6  string `json:"inside6,omitempty"` // the same by IPv6, if it is published there
	Holder   string `json:"holder,omitempty"`  // a process of the gate that listens on the port
	After    uint64 `json:"packets_after"`     // sent on for the forward so far
	// Traced is set where the gate has followed a visit on its way through all
	// rules, and Arrived where it has seen one.
	Traced  bool `json:"traced,omitempty"`
	Arrived bool `json:"arrived,omitempty"`
	// Unwanted is set where our own table was seen to drop the visit: it took
	// it for one that is for the gate itself.
	Unwanted bool `json:"unwanted,omitempty"`
}

// LookDrop is what a rule of somebody else does to a packet of ours; most drop it.
type LookDrop struct {
	Deed   string `json:"deed,omitempty"` // empty: drops
	Hook   string `json:"hook"`
	Owner  string `json:"owner,omitempty"` // "ufw", "firewalld", "Docker" …
	Table  string `json:"table"`           // with its family: "ip filter"
	Chain  string `json:"chain"`
	Rule   string `json:"rule,omitempty"` // empty: the chain's policy
	Remedy string `json:"remedy,omitempty"`
	// Legacy is set where the rule is iptables-legacy's.
	Legacy bool `json:"legacy,omitempty"`
	// Protocol and Port are of the packet that it was seen to drop; zero: any.
	Protocol string `json:"protocol,omitempty"`
	Port     uint16 `json:"port,omitempty"`
}
