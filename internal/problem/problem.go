// Package problem is an error as its reader needs it: with the next command to
// try, and of a kind that a program can tell from others.
package problem

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Kind is what kind of failure an error is; its number is the exit code of the
// command that fails with it.
type Kind int

// The kinds of failures.
const (
	Failed      Kind = 1 // nothing more is to be said
	Usage       Kind = 2 // the command line is wrong, and nothing was begun
	Differs     Kind = 3 // the machine is not as wanted
	Privilege   Kind = 4 // the user may not
	Unreachable Kind = 5 // the other side, or the daemon, does not answer
)

// Error is an error with a kind and a hint.
type Error struct {
	Err  error
	Hint string // the next command to try; "" if none is known
	Kind Kind
}

// New makes an error from a format as fmt.Errorf takes it.
func New(kind Kind, hint, format string, args ...any) error {
	return &Error{Err: fmt.Errorf(format, args...), Hint: hint, Kind: kind}
}

// Error implements error.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the error without its hint and kind.
func (e *Error) Unwrap() error { return e.Err }

// document is how an error is written for a program.
type document struct {
	Error *body `json:"error"`
}

type body struct {
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Code    Kind   `json:"code"`
}

// JSON writes an error as one line, for a program:
//
//	{"error":{"message":"…","hint":"…","code":5}}
func (e *Error) JSON() ([]byte, error) {
	return json.Marshal(document{&body{Message: e.Error(), Hint: e.Hint, Code: e.Kind}})
}

// ErrNone reports that a text is no error as JSON writes it.
var ErrNone = errors.New("this is not an error of gatelodge")

// Parse reads what JSON has written. The error is ErrNone for anything else.
func Parse(line string) (*Error, error) {
	var d document
	if json.Unmarshal([]byte(line), &d) != nil || d.Error == nil || d.Error.Message == "" {
		return nil, ErrNone
	}
	return &Error{Err: errors.New(d.Error.Message), Hint: d.Error.Hint, Kind: d.Error.Code}, nil
}
