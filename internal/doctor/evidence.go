// Package doctor says why visitors do not arrive: it judges what was looked
// at on both sides, hop by hop, and names the culprit with the command that
// fixes it. It is pure: the daemon looks, and the commands print.
package doctor

import (
	"net/netip"
	"time"
)

// Evidence is what was looked at. Here is the side where the question was
// asked. There is the other one, as far as it has told; only a home asks its
// gate, and a gate probes its homes as a visitor would.
type Evidence struct {
	Here  Side  `json:"here"`
	There *Side `json:"there,omitempty"`
	// Missing says why There is not set where it could be: one of the words
	// below, or empty.
	Missing Missing `json:"missing,omitempty"`
}

// Missing is why the other side has told nothing.
type Missing string

// The reasons why the other side has told nothing.
const (
	Silent  Missing = "silent"  // it did not answer
	Older   Missing = "older"   // it runs a version that does not know the question
	Refused Missing = "refused" // it answered with a refusal
)

// Side is what was looked at on one machine.
type Side struct {
	Role    string    `json:"role"`              // "gate" or "home"
	Name    string    `json:"name,omitempty"`    // of a home
	Version string    `json:"version,omitempty"` // of gatelodge there
	Daemon  bool      `json:"daemon"`            // whether it runs
	Clock   time.Time `json:"clock"`             // the wall's, when it was looked at
	Machine Machine   `json:"machine"`
	Tunnel  Tunnel    `json:"tunnel,omitzero"` // of a home
	// Public are the gate's addresses at which visitors arrive.
	Public []netip.Addr `json:"public,omitempty"`
	// Unserved are other addresses of the gate that the internet knows, at which
	// visitors find nothing.
	Unserved []Unserved `json:"unserved,omitempty"`
	// SSHOnlyInTunnel are the listeners of the gate's sshd, if all of them are
	// addresses of the tunnel.
	SSHOnlyInTunnel []netip.AddrPort `json:"ssh_only_in_tunnel,omitempty"`
	Homes           []Peer           `json:"homes,omitempty"` // of a gate
	// Revoked are homes of before of a gate.
	Revoked []Revoked `json:"revoked,omitempty"`
	// Strangers have sent to the gate's WireGuard port and got no answer.
	Strangers []netip.AddrPort `json:"strangers,omitempty"`
	Forwards  []Forward        `json:"forwards,omitempty"`
	// Drops are verdicts of others that were seen, or read, to defeat ours.
	Drops []Drop `json:"drops,omitempty"`
	// Unseen says what could not be looked at, and why.
	Unseen []string `json:"unseen,omitempty"`
}

// Revoked is a home that the gate's owner has revoked within the last week.
type Revoked struct {
	Name     string         `json:"name"`
	Endpoint netip.AddrPort `json:"endpoint,omitzero"` // where it was last seen
	At       time.Time      `json:"at"`
}

// Unserved is a public address of a gate at which nothing is published.
type Unserved struct {
	Addr      netip.Addr `json:"addr"`
	Interface string     `json:"interface"`
}

// Machine is what was found out about a machine itself.
type Machine struct {
	NFT        string `json:"nft,omitempty"`        // version of nft(8); empty: there is none
	NFTTooOld  bool   `json:"nft_too_old"`          // it does not read our rules
	NFTNeeded  string `json:"nft_needed,omitempty"` // the oldest that does
	Device     string `json:"device,omitempty"`     // "kernel" or "embedded"
	Automatic  bool   `json:"device_automatic"`     // it was not chosen by the owner
	KernelHas  bool   `json:"kernel_has_wireguard"` // the kernel would make a device now
	Disks      []Disk `json:"disks,omitempty"`      // that we write to
	Forwarding Toggle `json:"forwarding"`           // net.ipv4.ip_forward
	// ReversePath is the check in force on the tunnel's interface: the larger
	// of its rp_filter and that of all interfaces (ip-sysctl.rst); 1 is strict.
	ReversePath int       `json:"reverse_path"`
	Conntrack   Conntrack `json:"conntrack"`
	// Drift lists where the machine is not as wanted.
	Drift    []Drift  `json:"drift,omitempty"`
	Problems []string `json:"problems,omitempty"` // of the daemon's last round
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
	NoWay4  bool     `json:"no_ipv4_route,omitempty"`
	Overlap *Overlap `json:"overlap,omitempty"`
	IPv6    bool     `json:"ipv6"` // whether the tunnel's interface has an IPv6 address
}

// Toggle is a setting that is needed, or not, and on, or not.
type Toggle struct {
	Needed bool `json:"needed"`
	On     bool `json:"on"`
}

// Disk is a file system that we write to.
type Disk struct {
	Path       string `json:"path"`
	FreeBytes  uint64 `json:"free_bytes"`  // for the daemon's user
	FreeFiles  uint64 `json:"free_files"`  // that can still be made
	LimitFiles bool   `json:"limit_files"` // whether the file system bounds them
	ReadOnly   bool   `json:"read_only"`
}

// Conntrack is how many connections the kernel tracks, and may at most.
type Conntrack struct {
	Count uint64 `json:"count"`
	Max   uint64 `json:"max"`
}

// Overlap is a network that means the same addresses as the tunnel.
type Overlap struct {
	Tunnel    netip.Prefix `json:"tunnel"`
	Network   netip.Prefix `json:"network"`
	Interface string       `json:"interface"`
}

// Tunnel is what a home found out about its way to the gate.
type Tunnel struct {
	Answers   bool          `json:"answers"`              // a ping came back
	RoundTrip time.Duration `json:"round_trip,omitempty"` // of that ping, in nanoseconds
	// Alone is set where the tunnel works and the gate's daemon does not.
	Alone bool `json:"daemon_alone"`
	// Carries is set where the gate makes handshakes, whether it answers or not.
	Carries bool `json:"carries"`
	// GaveWay is set where the gate has told this home to leave the tunnel to
	// another machine with its key, and Rival where it has told another one so.
	GaveWay bool `json:"gave_way,omitempty"`
	Rival   bool `json:"rival,omitempty"`
	// Small and Large tell whether messages of one packet, and of several full
	// ones in both directions, were answered.
	Small Result `json:"small,omitempty"`
	Large Result `json:"large,omitempty"`
	MTU   int    `json:"mtu,omitempty"` // of the tunnel, in bytes
	// Silence is for how long the gate has not answered, in nanoseconds; 0: it
	// never has since this start.
	Silence time.Duration  `json:"silence,omitempty"`
	Tried   netip.AddrPort `json:"tried,omitzero"` // where the gate is looked for now
	// Answered is where the gate has last answered this home's key, also in an
	// earlier run; zero: never.
	Answered netip.AddrPort `json:"answered,omitzero"`
	Route    bool           `json:"route"` // this machine has a way to Tried
	Names    []Name         `json:"names,omitempty"`
	// Observed is where the gate sees this home come from.
	Observed netip.AddrPort `json:"observed,omitzero"`
}

// Name is an endpoint of the gate, as the owner or the invite has it.
type Name struct {
	Endpoint  string       `json:"endpoint"`
	Literal   bool         `json:"literal"` // it is an address, there was nothing to look up
	Addresses []netip.Addr `json:"addresses,omitempty"`
	Error     string       `json:"error,omitempty"`
}

// Peer is a home as its gate sees it.
type Peer struct {
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

// Result is the outcome of a probe.
type Result string

// The outcomes of a probe. The zero Result was not tried.
const (
	Untried     Result = ""
	Open        Result = "open"        // a connection came about, or an answer
	Closed      Result = "refused"     // the other end said that nobody listens
	TimedOut    Result = "timeout"     // nothing came back
	Unreachable Result = "unreachable" // somebody on the way said no
)

// failed reports whether the probe was made and got no connection.
func (r Result) failed() bool { return r == Closed || r == TimedOut || r == Unreachable }

// Forward is one published port and what became of the probes of it.
type Forward struct {
	Name     string `json:"name"`
	Home     string `json:"home,omitempty"`      // on a gate
	Protocol string `json:"protocol"`            // "tcp" or "udp"
	Port     uint16 `json:"port"`                // at the gate; of a range the first, and the one that is tried
	LastPort uint16 `json:"last_port,omitempty"` // of a range
	// What only a home knows: where the service is, and whom it takes visitors
	// for.
	LocalPort uint16     `json:"local_port,omitempty"`
	To        netip.Addr `json:"to,omitzero"` // zero: this machine
	// Hidden is set where the service sees an address of ours in place of the
	// visitor's.
	Hidden bool `json:"source_hidden"`
	// ByRouter is set where To answers strangers by a router of its own.
	ByRouter  bool             `json:"answers_by_router"`
	WantsIPv6 bool             `json:"wants_ipv6"`
	Listeners []netip.AddrPort `json:"listeners,omitempty"` // on LocalPort, here
	// ServedBeyond is set where something listens here on another port of the range.
	ServedBeyond bool `json:"served_beyond,omitempty"`
	// OnlyOn is the interface to which all of those are bound.
	OnlyOn  string `json:"only_on,omitempty"`
	Local   Result `json:"local,omitempty"`   // home to the service
	Outside Result `json:"outside,omitempty"` // home to the gate's public address
	// What only a gate knows.
	Granted bool   `json:"granted"`
	Pending bool   `json:"pending,omitempty"` // the gate has not said yet
	Reason  string `json:"reason,omitempty"`  // why it was refused
	Inside  Result `json:"inside,omitempty"`  // gate to home, through the tunnel
	Inside6 Result `json:"inside6,omitempty"` // the same by IPv6, if it is published there
	Holder  string `json:"holder,omitempty"`  // a process of the gate that listens on the port
	// Before and After count the packets that the gate has sent on for the
	// forward, before and after Outside was tried.
	Before uint64 `json:"packets_before"`
	After  uint64 `json:"packets_after"`
	// Traced is set where the gate has followed a visit on its way through all
	// rules, and Arrived where it has seen one.
	Traced  bool `json:"traced,omitempty"`
	Arrived bool `json:"arrived,omitempty"`
	// Unwanted is set where our own table was seen to drop the visit: it took
	// it for one that is for the gate itself.
	Unwanted bool `json:"unwanted,omitempty"`
}

// Listens notes a socket of this machine, if visitors of the forward are led to its
// port.
func (f *Forward) Listens(protocol string, at netip.AddrPort) {
	switch last := f.LocalPort + max(f.LastPort, f.Port) - f.Port; {
	case protocol != f.Protocol || at.Port() < f.LocalPort || at.Port() > last:
	case at.Port() == f.LocalPort:
		f.Listeners = append(f.Listeners, at)
	default:
		f.ServedBeyond = true
	}
}

// Drift is one place where a machine is not as wanted.
type Drift struct {
	Text   string `json:"text"`             // in words
	Sysctl string `json:"sysctl,omitempty"` // the setting, if it is one
}
