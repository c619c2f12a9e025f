// Package control is the protocol between a home and its gate: messages,
// server and client. It is spoken inside the tunnel only, where WireGuard
// makes the source address proof of the peer.
//
// The protocol is JSON over HTTP/1.1, with the home as the client:
//
//	POST /v1/enrol     EnrolRequest  → EnrolResponse   an invite for a place
//	PUT  /v1/forwards  PushRequest   → PushResponse    all that the home publishes
//	GET  /v1/state                   → StateResponse   what the gate holds of it
//	POST /v1/doctor    DoctorRequest → DoctorResponse  what the gate finds wrong
//
// and, on UDP, an echo that tells whether the other side lives (see Pinger), and
// the first of these messages for homes that have not joined yet (see Enrol).
// Every refusal is an Error. Who may send which message is in the table of API.
//
// Every message says the version of the protocol that it is in, and a gate
// answers in the version that it was asked in. A gate refuses what is newer than
// it knows, a home does not use it, and both say which side to update; a refusal
// alone is shown whatever its version. Within one version a side may say more
// than the other knows. In an answer that is ignored: it gives nobody anything,
// and a home goes by what it knows. In a request it is refused: a gate that
// ignored an unknown bound of a forward would give visitors more than the home
// meant to. So a new property of a forward is left out where it is not used, and
// then gates of before take the push as ever.
package control

import (
	"encoding/json"
	"log/slog"
	"net/netip"
	"time"

	"github.com/gatelodge/gatelodge/internal/key"
)

// Version is the protocol's version. It grows when an older side would
// misunderstand a newer one.
const Version = 1

// versionHeader is where a message over HTTP says its version, also one without
// a body. Homes and gates of before have no such header, and speak version 1.
const versionHeader = "Gatelodge-Protocol"

// The bounds of messages; those of forwards are package forward's. A sender of
// more is refused before it costs memory or time.
const (
	MaxBody = 256 << 10 // bytes of a request; see forward.MaxSize

	maxAnswer = 2 << 20 // bytes of a response: a reason for each of 1024 forwards
	maxText   = 1000    // bytes of any one text for people
	maxNotes  = 8       // of one verdict
	maxPublic = 64      // addresses of a gate
)

// EnrolRequest redeems an invite: its secret for a place of the home's own
// key. It travels with the invite's one-time key.
type EnrolRequest struct {
	Version   int
	Secret    key.Secret
	PublicKey key.Public // of the key that the home made for itself
}

type enrolWire struct {
	Version   int        `json:"version"`
	Secret    string     `json:"secret"` // hexadecimal
	PublicKey key.Public `json:"public_key"`
}

// MarshalJSON shows the secret: this is the one message that carries it.
func (r EnrolRequest) MarshalJSON() ([]byte, error) {
	return json.Marshal(enrolWire{r.Version, r.Secret.RevealText(), r.PublicKey})
}

// UnmarshalJSON reads what MarshalJSON wrote, and nothing else.
func (r *EnrolRequest) UnmarshalJSON(data []byte) error {
	var w enrolWire
	if err := decodeStrict(data, &w); err != nil {
		return err
	}
	secret, err := key.ParseSecret(w.Secret)
	if err == nil {
		*r = EnrolRequest{w.Version, secret, w.PublicKey}
	}
	return err
}

// LogValue keeps the secret out of logs, also out of those in JSON.
func (r EnrolRequest) LogValue() slog.Value { return slog.StringValue(r.PublicKey.String()) }

// EnrolResponse tells a home its place in the tunnel.
type EnrolResponse struct {
	Version  int          `json:"version"`
	Name     string       `json:"name"`
	Address4 netip.Addr   `json:"address4"`
	Address6 netip.Addr   `json:"address6,omitzero"` // zero in a tunnel without IPv6
	Gate4    netip.Addr   `json:"gate4"`
	Gate6    netip.Addr   `json:"gate6,omitzero"`
	Prefix4  netip.Prefix `json:"prefix4"` // the tunnel's
	Prefix6  netip.Prefix `json:"prefix6,omitzero"`
}

// PushRequest replaces everything that the home publishes at this gate.
type PushRequest struct {
	Version    int       `json:"version"`
	Generation uint64    `json:"generation"` // grows with every change of the list
	Forwards   []Forward `json:"forwards"`
}

// Forward is a published forward on the wire. Every part has exactly one
// spelling.
type Forward struct {
	Name           string   `json:"name"`
	Ports          []string `json:"ports"`                     // "80/tcp", "25565-25570/udp"
	Families       []string `json:"families"`                  // "ipv4", "ipv6"
	Masquerade     bool     `json:"masquerade,omitempty"`      // the service sees the gate, not the visitor
	Allow          []string `json:"allow,omitempty"`           // "198.51.100.0/24"; none: everyone
	NewConnections string   `json:"new_connections,omitempty"` // "20/second", for each visitor
	Connections    uint32   `json:"connections,omitempty"`     // at once, for each visitor
}

// PushResponse answers each forward of a push, in its order.
type PushResponse struct {
	Version    int       `json:"version"`
	Generation uint64    `json:"generation"`
	Verdicts   []Verdict `json:"verdicts"`
	// Public are the gate's addresses at which visitors arrive.
	Public []netip.Addr `json:"public"`
}

// Verdict is the gate's answer to one forward.
type Verdict struct {
	Name   string   `json:"name"`
	State  State    `json:"state"`
	Reason string   `json:"reason,omitempty"` // why it was refused
	Notes  []string `json:"notes,omitempty"`  // what to know although it was granted
	// Traffic is what has passed through it; only where a home asks for the state,
	// and from gates that say so.
	Traffic *Traffic `json:"traffic,omitempty"`
}

// Traffic is what a gate has counted of a forward since its firewall was set up: in
// is from visitors.
type Traffic struct {
	InPackets   uint64 `json:"in_packets"`
	InBytes     uint64 `json:"in_bytes"`
	OutPackets  uint64 `json:"out_packets"`
	OutBytes    uint64 `json:"out_bytes"`
	Connections uint64 `json:"connections"`
	Limited     uint64 `json:"limited,omitempty"` // packets dropped by allow or limit
	// SinceLast is how long ago the last connection was opened; 0: none is known of.
	SinceLast time.Duration `json:"since_last_ns,omitempty"`
}

// State is what became of a forward.
type State string

// The states of a forward.
const (
	Granted State = "granted"
	Refused State = "refused"
)

// StateResponse tells a home what the gate holds of it.
type StateResponse struct {
	Version    int       `json:"version"`
	Name       string    `json:"name"`
	Generation uint64    `json:"generation"`
	Digest     string    `json:"digest"` // of the forwards the gate holds; see Digest
	Verdicts   []Verdict `json:"verdicts"`
	// Observed is where the gate sees the home's WireGuard packets come from.
	Observed netip.AddrPort `json:"observed,omitzero"`
	Public   []netip.Addr   `json:"public"`
	// MTU is that of the tunnel at the gate, in bytes; 0: the gate is of a
	// version that does not say.
	MTU int `json:"mtu,omitempty"`
}
