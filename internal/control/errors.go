package control

import (
	"fmt"
	"net/http"

	"github.com/gatelodge/gatelodge/internal/control/ping"
	"github.com/gatelodge/gatelodge/internal/printable"
)

// Code says what kind of refusal an Error is.
type Code string

// The kinds of refusal that both sides know. A gate passes on those of its
// registry, which uses the same words; unknown ones are to be shown, and not
// to be acted on.
const (
	Malformed     Code = "malformed"      // not a message of this protocol
	NewerVersion  Code = "newer-version"  // the message is of a newer version
	TooLarge      Code = "too-large"      // more than the bounds of the protocol
	TooSlow       Code = "too-slow"       // the message did not arrive in time
	TooOften      Code = "too-often"      // ask again later
	UnknownPath   Code = "unknown-path"   // no such message
	Forbidden     Code = "forbidden"      // not from where homes ask
	Internal      Code = "internal"       // the gate failed
	BadAnswer     Code = "bad-answer"     // the gate answered with something else
	UnknownHome   Code = "unknown-home"   // the gate has no home at this address
	UnknownInvite Code = "unknown-invite" // the gate has no such invite
	ExpiredInvite Code = "expired-invite" // too late
	UsedInvite    Code = "used-invite"    // another key was faster
	WrongPeer     Code = "wrong-peer"     // not from the tunnel address of the invite
	BadKey        Code = "bad-key"        // the public key cannot be enrolled
	Stale         Code = "stale"          // the gate holds a newer generation
	Full          Code = "full"           // no place left at the gate
)

// ErrUnreachable is in the chain of every error of a Client or a Pinger that
// got no answer.
var ErrUnreachable = ping.ErrUnreachable

// Error is a refusal, with a sentence that says what to do about it.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
}

// errorWire is an Error as it is sent. It is shown whatever its version.
type errorWire struct {
	Version int `json:"version"`
	*Error
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

// status is the HTTP status that goes with a code.
func (c Code) status() int {
	switch c {
	case Malformed, NewerVersion:
		return http.StatusBadRequest
	case TooLarge:
		return http.StatusRequestEntityTooLarge
	case TooSlow:
		return http.StatusRequestTimeout
	case TooOften:
		return http.StatusTooManyRequests
	case UnknownPath:
		return http.StatusNotFound
	case Internal:
		return http.StatusInternalServerError
	case Stale, UsedInvite:
		return http.StatusConflict
	default:
		return http.StatusForbidden
	}
}

// plain makes text from the other side fit for a terminal and a log.
func plain(text string) string { return printable.Line(text, maxText) }

// isPlain reports whether plain would change nothing.
func isPlain(text string) bool { return printable.IsLine(text, maxText) }
