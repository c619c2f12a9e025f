package registry

import "fmt"

// Code says what kind of refusal an Error is. The control channel uses the
// same words.
type Code string

// The kinds of refusal.
const (
	BadName        Code = "bad-name"        // not a name for a home
	BadDuration    Code = "bad-duration"    // an invite cannot be valid for so long, or so short
	NameTaken      Code = "name-taken"      // a home or an invite has the name
	Full           Code = "full"            // no address, or no forward ID, is left
	UnknownInvite  Code = "unknown-invite"  // no such secret
	ExpiredInvite  Code = "expired-invite"  // too late
	UsedInvite     Code = "used-invite"     // somebody was faster
	WrongPeer      Code = "wrong-peer"      // the secret came from an address that is not the invite's
	BadKey         Code = "bad-key"         // the public key is zero or somebody else's
	UnknownHome    Code = "unknown-home"    // no such home
	Stale          Code = "stale"           // the push is older than what the gate has
	TooMany        Code = "too-many"        // more forwards than a push may hold
	BadState       Code = "bad-state"       // the stored state contradicts itself
	NewerState     Code = "newer-state"     // the stored state is from a newer version
	OutsideTunnel  Code = "outside-tunnel"  // the stored state belongs to other tunnel prefixes
	UnusableTunnel Code = "unusable-tunnel" // the tunnel's prefixes cannot work
)

// Error is a refusal, with a sentence that says what to do about it.
type Error struct {
	Code    Code
	Message string
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

// Is reports whether target is an Error of the same code, so that
// errors.Is(err, &Error{Code: UsedInvite}) asks for the kind alone.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code && (t.Message == "" || t.Message == e.Message)
}

func refuse(code Code, format string, args ...any) error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}
