// Package local is how the commands and the daemon of one machine speak with each
// other: messages, client and server, over a socket that only its owner may open.
package local

import (
	"net/netip"
	"time"

	"github.com/gatelodge/gatelodge/internal/doctor"
	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/status"
)

// Protocol numbers these messages, the reports among them. Commands and daemon come
// from one binary, but over an upgrade the daemon is of the one before until it is
// restarted. It is raised with every change that the other side would take wrongly
// or not see; what was asked by another number is not done, and both sides say why.
// Numbered from 2: the messages of before it had no number.
const Protocol = 2

// The places where a daemon is asked. That of stop never changes: a daemon of any
// version can be ended.
const (
	placePrefix = "/v2" // of Protocol
	stopPlace   = "/stop"
)

// otherVersion is the refusal of both sides.
func otherVersion() *RefusedError {
	return &RefusedError{
		Message: "the daemon that runs is of another version of gatelodge than this command",
		Hint:    "restart the daemon: systemctl restart gatelodge (where it was started by hand: gatelodge down, then gatelodge up)",
	}
}

// The messages between the commands and the daemon of the same machine.
type (
	// PlanResponse lists what differs from the wanted state.
	PlanResponse struct {
		Changes []plan.Change `json:"changes"`
		// Risks lists what the change would close on a gate: it has to be
		// confirmed.
		Risks []string `json:"risks,omitempty"`
		// Ends lists what is published on a gate and would be no longer.
		Ends []plan.Ending `json:"ends,omitempty"`
		// Fresh says that nothing of Gatelodge stands on this machine yet.
		Fresh bool `json:"fresh,omitempty"`
	}
	// ApplyRequest says how long the owner has to confirm a change that could
	// cut them off; 0 is ConfirmTime.
	ApplyRequest struct {
		ConfirmWithin time.Duration `json:"confirm_within_ns"`
		// LeaveInput leaves the gate's input policy as it is if the file's could
		// cut the owner off: for changes of something else.
		LeaveInput bool `json:"leave_input,omitempty"`
	}
	// ConfirmRequest keeps a change. Session is the visitor's end of the ssh
	// session in which the command runs; the zero value: there is none.
	ConfirmRequest struct {
		Session netip.AddrPort `json:"session"`
	}
	// ConfirmResponse says how things stand now.
	ConfirmResponse struct {
		Report status.Report `json:"report"`
	}
	// ApplyResponse lists what was changed, and how things stand now.
	ApplyResponse struct {
		Changes []plan.Change `json:"changes"`
		Report  status.Report `json:"report"`
	}
	// InviteRequest asks a gate for an invite.
	InviteRequest struct {
		Name string        `json:"name"`
		For  time.Duration `json:"for_ns"`
	}
	// InviteResponse holds the invite: a secret.
	InviteResponse struct {
		Name    string    `json:"name"`
		Invite  string    `json:"invite"`
		Expires time.Time `json:"expires"`
	}
	// RevokeRequest asks a gate to forget a home or an invite.
	RevokeRequest struct {
		Name string `json:"name"`
	}
	// failure is how the daemon refuses.
	failure struct {
		Error string `json:"error"`
		Hint  string `json:"hint,omitempty"`
	}
)

// The time that an owner has to confirm a policy.
const (
	ConfirmTime      = 60 * time.Second // where the owner does not say
	ShortConfirmTime = 10 * time.Second // at least: one has to get in
	LongConfirmTime  = time.Hour        // at most
)

// DoctorResponse is what `gatelodge doctor` shows: what was looked at, and
// what is wrong.
type DoctorResponse struct {
	Findings []doctor.Finding `json:"findings"`
	Notes    []string         `json:"notes"` // what the findings do not rest on
	Evidence doctor.Evidence  `json:"evidence"`
	// Remedies let through, on this machine, what its other firewalls drop: each
	// the text of a consent.Remedy.
	Remedies []string `json:"remedies"`
}

// Judged returns what there is to say of evidence.
func Judged(e doctor.Evidence) DoctorResponse {
	r := DoctorResponse{Findings: doctor.Judge(e), Notes: doctor.Notes(e), Evidence: e, Remedies: []string{}}
	if r.Findings == nil {
		r.Findings = []doctor.Finding{}
	}
	if r.Notes == nil {
		r.Notes = []string{}
	}
	return r
}

// RefusedError is the daemon's own answer that it will not do a thing.
type RefusedError struct {
	Message string
	Hint    string
}

func (e *RefusedError) Error() string { return e.Message }
