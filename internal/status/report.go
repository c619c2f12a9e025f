// Package status holds the report that a daemon gives of itself: its types,
// their JSON and their text. It gathers nothing.
package status

import (
	"net/netip"
	"time"

	"github.com/gatelodge/gatelodge/internal/key"
)

// Report is all that `gatelodge status` shows, and what its --json prints.
type Report struct {
	Role     string    `json:"role"` // "gate" or "home"
	Name     string    `json:"name,omitempty"`
	Version  string    `json:"version"`
	Running  bool      `json:"running"` // whether a daemon answered
	Since    time.Time `json:"since,omitzero"`
	Tunnel   Tunnel    `json:"tunnel"`
	Input    *Input    `json:"input,omitempty"` // on a gate
	Forwards []Forward `json:"forwards"`
	Homes    []Home    `json:"homes,omitempty"`   // on a gate
	Invites  []Invite  `json:"invites,omitempty"` // on a gate
	Counters Counters  `json:"counters"`
	// LetThrough lists what other firewalls let through by their owner's
	// agreement, as the commands that did it; down takes it back.
	LetThrough []string `json:"let_through,omitempty"`
	// Drift lists, in words, where the machine is not as wanted.
	Drift []string `json:"drift"`
	// Problems lists, in words, what keeps something from working.
	Problems []string `json:"problems"`
}

// Tunnel is the state of the WireGuard interface.
type Tunnel struct {
	Interface  string       `json:"interface"`
	Up         bool         `json:"up"`     // gate: the device stands; home: the gate answers
	Device     string       `json:"device"` // "kernel" or "embedded"
	DeviceWhy  string       `json:"device_why,omitempty"`
	PublicKey  key.Public   `json:"public_key"`
	ListenPort uint16       `json:"listen_port"`
	MTU        int          `json:"mtu"` // bytes
	Addresses  []netip.Addr `json:"addresses"`
	// Public are the addresses at which visitors arrive.
	Public []netip.Addr `json:"public"`
	Peer   *Peer        `json:"peer,omitempty"` // on a home: the gate
}

// Input is what a gate lets in for itself.
type Input struct {
	Policy string     `json:"policy"` // "protect" or "leave"; the one that was kept
	State  InputState `json:"state"`
	// Closes lists what the file's policy closes and the one that was kept does
	// not.
	Closes []string `json:"closes,omitempty"`
	// Left is after which time a policy on trial is taken back.
	Left time.Duration `json:"left_ns,omitempty"`
}

// InputState says how the input policy stands to the one of the file.
type InputState string

// The states of an input policy.
const (
	Kept        InputState = "kept"        // it is that of the file
	OnTrial     InputState = "on trial"    // that of the file is in force until its time is up, unless it is confirmed
	Unconfirmed InputState = "unconfirmed" // that of the file is not in force
)

// Peer is the other end of a tunnel as the WireGuard device sees it.
type Peer struct {
	PublicKey       key.Public     `json:"public_key"`
	Endpoint        netip.AddrPort `json:"endpoint"`
	LatestHandshake time.Time      `json:"latest_handshake,omitzero"`
	ReceivedBytes   uint64         `json:"received_bytes"`
	SentBytes       uint64         `json:"sent_bytes"`
	RoundTrip       time.Duration  `json:"round_trip_ns,omitempty"` // of the last answered ping
}

// State of a forward.
type State string

// The states of a forward.
const (
	Granted State = "granted" // the gate forwards it
	Refused State = "refused" // the gate will not; see Reason
	Pending State = "pending" // the gate has not answered yet
)

// Forward is one forward and what has passed through it.
type Forward struct {
	Name     string   `json:"name"`
	Home     string   `json:"home,omitempty"` // on a gate
	Ports    []string `json:"ports"`
	Families string   `json:"families"`
	To       string   `json:"to,omitempty"` // on a home
	Source   string   `json:"source"`       // "preserve" or "masquerade"
	Allow    []string `json:"allow,omitempty"`
	Limit    string   `json:"limit,omitempty"`
	State    State    `json:"state"`
	Reason   string   `json:"reason,omitempty"`
	ID       uint32   `json:"id,omitempty"` // on a gate: in ct marks
	// In is from visitors, Out to them; counted on the gate only.
	In          *Traffic `json:"in,omitempty"`
	Out         *Traffic `json:"out,omitempty"`
	Connections uint64   `json:"connections,omitempty"` // opened since the table was loaded first
	Limited     uint64   `json:"limited,omitempty"`     // packets dropped by allow or limit
}

// Traffic counts what passed in one direction.
type Traffic struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// Home is an enrolled home as its gate sees it.
type Home struct {
	Name       string       `json:"name"`
	PublicKey  key.Public   `json:"public_key"`
	Addresses  []netip.Addr `json:"addresses"`
	Enrolled   time.Time    `json:"enrolled"`
	Connected  bool         `json:"connected"` // something was received within the last three minutes
	Peer       Peer         `json:"peer"`
	Forwards   int          `json:"forwards"`
	Refused    int          `json:"refused"`
	Generation uint64       `json:"generation"`
}

// Invite is an invite that nobody has used yet.
type Invite struct {
	Name    string    `json:"name"`
	Expires time.Time `json:"expires"`
}

// Counters are packets dropped by our table since it was loaded first.
type Counters struct {
	Closed  uint64 `json:"closed"`  // from outside, to ports that nothing is published on
	Invalid uint64 `json:"invalid"` // not part of any connection
	Spoofed uint64 `json:"spoofed"` // with a source address that cannot come that way
	Tunnel  uint64 `json:"tunnel"`  // from the tunnel, to what is not published there
	Leaked  uint64 `json:"leaked"`  // with a tunnel address, about to leave by another way
	Full    uint64 `json:"full"`    // new connections that the kernel's table had no room for
	Local   uint64 `json:"local"`   // from other programs of a home than the daemon, into the tunnel
}
