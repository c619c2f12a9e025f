// Package status holds the report that a daemon gives of itself: its types,
// their JSON and their text. It gathers nothing.
package status

import (
	"cmp"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/internal/key"
)

// Schema numbers the JSON of a Report. It is raised when a field goes, or comes to
// mean something else; new fields do not raise it. The reports of before it had
// none (version is that of the program), and a home's single tunnel at the top.
const Schema = 2

// Report is all that `gatelodge status` shows, and what its --json prints. In JSON
// each list is there, if only as [].
//
// Two words have one meaning in it, wherever they stand. An interface is up if it
// stands and is switched on, no matter who answers at the other end. The other end of a
// tunnel is connected if it was heard through the tunnel within the last seconds,
// by what only the owner of its key can send: a gate listens for bytes of its homes,
// a home for answers of its gates.
type Report struct {
	Schema  int    `json:"schema"` // of this JSON; see Schema
	Role    string `json:"role"`   // "gate" or "home"
	Name    string `json:"name,omitempty"`
	Version string `json:"version"` // of the program
	Running bool   `json:"running"` // whether a daemon answered
	// Verdict is that of the moment at which the report is shown.
	Verdict *Verdict  `json:"verdict,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	// Seen is when the daemon last looked at the machine: what is said of it here
	// was so then. It looks every few seconds, and never for a report.
	Seen     time.Time `json:"seen,omitzero"`
	Tunnel   Tunnel    `json:"tunnel,omitzero"` // on a gate; a home has one for each of its Gates
	Input    *Input    `json:"input,omitempty"` // on a gate
	Gates    []Link    `json:"gates"`           // on a home
	Homes    []Home    `json:"homes"`           // on a gate
	Invites  []Invite  `json:"invites"`         // on a gate
	Forwards []Forward `json:"forwards"`
	Counters Counters  `json:"counters"`
	// LetThrough lists what other firewalls let through by their owner's
	// agreement, as the commands that did it; down reverts it.
	LetThrough []string `json:"let_through"`
	// Drift lists, in words, where the machine is not as wanted.
	Drift []string `json:"drift"`
	// Problems lists, in words, what keeps something from working.
	Problems []string `json:"problems"`
}

// NotRunning is the report where no daemon answers.
func NotRunning(role, version string) Report {
	return Report{Role: role, Version: version}.Complete()
}

// Works reports whether the tunnel does its work: on a gate its interface is up, on
// a home each gate is connected.
func (r Report) Works() bool {
	if r.Role == "gate" {
		return r.Tunnel.Up
	}
	unconnected := func(l Link) bool { return !l.Connected }
	return len(r.Gates) > 0 && !slices.ContainsFunc(r.Gates, unconnected)
}

// Judged returns the report with its verdict.
func (r Report) Judged(now time.Time) Report {
	v := r.Judge(now)
	r.Verdict = &v
	return r
}

// Complete returns the report as its JSON has to be: with its Schema, with empty
// lists where there were none, and its forwards by gate, home and name.
func (r Report) Complete() Report {
	r.Schema = Schema
	r.Forwards = slices.Clone(r.Forwards)
	slices.SortStableFunc(r.Forwards, func(a, b Forward) int {
		return cmp.Or(strings.Compare(a.Gate, b.Gate), strings.Compare(a.Home, b.Home), strings.Compare(a.Name, b.Name))
	})
	fill(&r.Gates)
	fill(&r.Homes)
	fill(&r.Invites)
	fill(&r.Forwards)
	fill(&r.LetThrough)
	fill(&r.Drift)
	fill(&r.Problems)
	if r.Input != nil {
		fill(&r.Input.Closes)
	}
	if !reflect.ValueOf(r.Tunnel).IsZero() {
		r.Tunnel.fill()
	}
	for i := range r.Gates {
		r.Gates[i].Tunnel.fill()
	}
	for i := range r.Homes {
		fill(&r.Homes[i].Addresses)
	}
	for i := range r.Forwards {
		fill(&r.Forwards[i].Ports)
		fill(&r.Forwards[i].Allow)
	}
	return r
}

func (t *Tunnel) fill() {
	fill(&t.Addresses)
	fill(&t.Public)
}

func fill[T any](list *[]T) {
	if *list == nil {
		*list = []T{}
	}
}

// Tunnel is a WireGuard interface.
type Tunnel struct {
	Interface  string       `json:"interface"`
	Up         bool         `json:"up"`     // it stands and is switched on; see Report
	Device     string       `json:"device"` // "kernel" or "embedded"
	DeviceWhy  string       `json:"device_why,omitempty"`
	PublicKey  key.Public   `json:"public_key"`
	ListenPort uint16       `json:"listen_port"`
	MTU        int          `json:"mtu"` // bytes
	Addresses  []netip.Addr `json:"addresses"`
	// Public are the gate's addresses at which visitors arrive.
	Public []netip.Addr `json:"public"`
}

// Link is a home's link to one gate.
type Link struct {
	// Name is what the home calls the gate: the first of the endpoints at which it
	// looks for it.
	Name      string `json:"name"`
	Tunnel    Tunnel `json:"tunnel"`
	Connected bool   `json:"connected"` // the gate has answered within the last seconds; see Report
	// Carries says that the tunnel was seen to work although the gate's daemon does
	// not answer: visitors get through.
	Carries  bool `json:"carries,omitempty"`
	Peer     Peer `json:"peer"`
	Forwards int  `json:"forwards"` // that the gate publishes
	Refused  int  `json:"refused"`  // that it will not
	Pending  int  `json:"pending"`  // to which it has not answered
}

// Count counts a forward of that state.
func (l *Link) Count(s State) {
	switch s {
	case Granted:
		l.Forwards++
	case Refused:
		l.Refused++
	default:
		l.Pending++
	}
}

// Input is what a gate lets in for itself.
type Input struct {
	Policy string     `json:"policy"` // "protect" or "leave"; the one that was kept
	State  InputState `json:"state"`
	// Closes lists what the file's policy closes and the one that was kept does
	// not.
	Closes []string `json:"closes"`
	// Left is after which time a policy on trial is reverted.
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

// Peer is the other end of a tunnel, as the WireGuard device sees it and the daemon
// remembers it: the device forgets a peer that it adds again.
type Peer struct {
	PublicKey       key.Public     `json:"public_key"`
	Endpoint        netip.AddrPort `json:"endpoint"`
	LatestHandshake time.Time      `json:"latest_handshake,omitzero"`
	Heard           time.Time      `json:"heard,omitzero"` // when something last came from it
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
	Gate     string   `json:"gate,omitempty"` // on a home: the name of the Link that State is about
	Ports    []string `json:"ports"`
	Families string   `json:"families"`
	To       string   `json:"to,omitempty"` // on a home
	// Source is "preserve" or "masquerade". A gate does not know of what its home
	// does on the way to a device of its network.
	Source string   `json:"source"`
	Allow  []string `json:"allow"`
	Limit  string   `json:"limit,omitempty"`
	State  State    `json:"state"`
	Reason string   `json:"reason,omitempty"`
	ID     uint32   `json:"id,omitempty"` // on a gate: in ct marks
	// In is from visitors, Out to them. The gate counts, and tells its homes.
	In          *Traffic `json:"in,omitempty"`
	Out         *Traffic `json:"out,omitempty"`
	Connections uint64   `json:"connections,omitempty"` // opened since the table was loaded first
	Limited     uint64   `json:"limited,omitempty"`     // packets dropped by allow or limit
	// LastConnection is when a connection was last opened, as far as the gate's
	// daemon knows since its start.
	LastConnection time.Time `json:"last_connection,omitzero"`
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
	Connected  bool         `json:"connected"` // it was heard within the last seconds; see Report
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
	Full    uint64 `json:"full"`    // new connections that the conntrack table had no room for
	Local   uint64 `json:"local"`   // from other programs of a home than the daemon, into the tunnel
}
