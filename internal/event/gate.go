package event

import (
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/internal/key"
)

// Invited says that a gate's owner has made an invite.
type Invited struct {
	Home  string    `json:"home"`
	Until time.Time `json:"until"`
}

// Line implements Fact.
func (f Invited) Line() Line {
	return Line{"home.invited", slog.LevelInfo, "invited", []slog.Attr{slog.String("home", f.Home), slog.Time("until", f.Until)}}
}

// InviteEnded says that an invite was not used in time. It stays ended,
// whatever the machine's clock says later.
type InviteEnded struct {
	Home  string    `json:"home"`
	Until time.Time `json:"until"`
}

// Line implements Fact.
func (f InviteEnded) Line() Line {
	return Line{
		"home.invite_ended", slog.LevelWarn,
		"an invite that nobody has used has expired, and stays so even if this machine's clock was wrong; for another: gatelodge gate invite " + f.Home,
		[]slog.Attr{slog.String("home", f.Home), slog.Time("until", f.Until)},
	}
}

// Enrolled says that a home has come in with its invite.
type Enrolled struct {
	Home string     `json:"home"`
	Key  key.Public `json:"key"`
}

// Line implements Fact.
func (f Enrolled) Line() Line {
	return Line{"home.enrolled", slog.LevelInfo, "enrolled", []slog.Attr{slog.String("home", f.Home), slog.Any("key", f.Key)}}
}

// EnrolmentRefused says that somebody with an invite's key was not let in.
type EnrolmentRefused struct {
	From netip.Addr `json:"from"` // in the tunnel
	Why  string     `json:"why"`
}

// Line implements Fact.
func (f EnrolmentRefused) Line() Line {
	return Line{"home.enrolment_refused", slog.LevelWarn, "refused an enrolment", []slog.Attr{slog.Any("from", f.From), slog.String("error", f.Why)}}
}

// Revoked says that a home, or an invite, is forgotten.
type Revoked struct {
	Home string `json:"home"`
}

// Line implements Fact.
func (f Revoked) Line() Line {
	return Line{"home.revoked", slog.LevelInfo, "revoked", []slog.Attr{slog.String("home", f.Home)}}
}

// ForwardsAccepted says that a home's list of forwards is in force.
type ForwardsAccepted struct {
	Home       string `json:"home"`
	Generation uint64 `json:"generation"`
	Forwards   int    `json:"forwards"`
	// Unsaid is how many facts of this kind nobody was told of before this one.
	Unsaid int `json:"unsaid,omitempty"`
}

// Line implements Fact.
func (f ForwardsAccepted) Line() Line {
	return Line{"forwards.accepted", slog.LevelInfo, "accepted forwards", []slog.Attr{
		slog.String("home", f.Home), slog.Uint64("generation", f.Generation), slog.Int("forwards", f.Forwards), slog.Int("unsaid", f.Unsaid),
	}}
}

// ForwardsDelayed says that a home's list is on disk, and not in force yet.
type ForwardsDelayed struct {
	Home string `json:"home"`
	Why  string `json:"why"`
}

// Line implements Fact.
func (f ForwardsDelayed) Line() Line {
	return Line{"forwards.delayed", slog.LevelError, "a push is accepted but not carried out yet", []slog.Attr{slog.String("home", f.Home), slog.String("error", f.Why)}}
}

// ForwardEnded says that a forward, or a part of it, is published no longer because
// of what the gate's owner has decided.
type ForwardEnded struct {
	Home    string   `json:"home"`
	Forward string   `json:"forward"`
	Ports   []string `json:"ports"`
	Over    string   `json:"over,omitempty"` // the family that ends alone
	Reason  string   `json:"reason,omitempty"`
}

// Line implements Fact.
func (f ForwardEnded) Line() Line {
	return Line{"forward.ended", slog.LevelWarn, "a forward is published no longer", []slog.Attr{
		slog.String("home", f.Home), slog.String("forward", f.Forward), slog.String("ports", strings.Join(f.Ports, " ")), slog.String("over", f.Over), slog.String("reason", f.Reason),
	}}
}

// InputOnTrial says that an input policy holds until it is confirmed or its time
// is up.
type InputOnTrial struct {
	Closes []string      `json:"closes"`
	Within time.Duration `json:"within_ns"`
}

// Line implements Fact.
func (f InputOnTrial) Line() Line {
	return Line{"input.on_trial", slog.LevelWarn, "input policy on trial: it is reverted unless it is confirmed", []slog.Attr{
		slog.String("closes", strings.Join(f.Closes, ", ")), slog.Duration("within", f.Within),
	}}
}

// InputKept says that an input policy is on trial no longer, and stays.
type InputKept struct {
	Because string `json:"because"`
}

// Line implements Fact.
func (f InputKept) Line() Line {
	return Line{"input.kept", slog.LevelInfo, "input policy kept", []slog.Attr{slog.String("because", f.Because)}}
}

// InputReverted says that nobody has confirmed an input policy in time.
type InputReverted struct {
	Closed []string `json:"closed"`
}

// Line implements Fact.
func (f InputReverted) Line() Line {
	return Line{"input.reverted", slog.LevelWarn, "input policy reverted: nobody has confirmed it", []slog.Attr{slog.String("closed", strings.Join(f.Closed, ", "))}}
}

// HomeConnected says that a home is heard again, or for the first time.
type HomeConnected struct {
	Home     string         `json:"home"`
	Endpoint netip.AddrPort `json:"endpoint"`
}

// Line implements Fact.
func (f HomeConnected) Line() Line {
	return Line{"home.connected", slog.LevelInfo, "a home is connected", []slog.Attr{slog.String("home", f.Home), slog.Any("endpoint", f.Endpoint)}}
}

// HomeSilent says that a home has not been heard for a while.
type HomeSilent struct {
	Home string `json:"home"`
	// For is how long nothing has come from it.
	For time.Duration `json:"for_ns"`
}

// Line implements Fact.
func (f HomeSilent) Line() Line {
	return Line{"home.silent", slog.LevelWarn, "a home is silent", []slog.Attr{slog.String("home", f.Home), slog.Duration("for", f.For)}}
}
