package config

import (
	"fmt"
	"slices"
	"strings"
)

// Error is one thing wrong with a file.
type Error struct {
	File         string
	Line, Column int    // from 1, in characters; 0 if the error has no place
	Message      string // what was found and what was expected
	Hint         string // how to fix it; may be empty
}

// Error returns the error on one line, such as
//
//	home.toml:7:9: port 0 does not exist: ports go from 1 to 65535
func (e Error) Error() string {
	text := e.File + ": "
	if e.Line > 0 {
		text = fmt.Sprintf("%s:%d:%d: ", e.File, e.Line, e.Column)
	}
	text += e.Message
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	return text
}

// Errors is everything wrong with a file, in the order of the file.
type Errors []Error

// Error returns the errors one a line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the errors one by one, for errors.Is and errors.As.
func (e Errors) Unwrap() []error {
	list := make([]error, len(e))
	for i, one := range e {
		list[i] = one
	}
	return list
}

// problem is an error that does not know its place yet.
type problem struct{ message, hint string }

func (p problem) Error() string {
	if p.hint == "" {
		return p.message
	}
	return p.message + "; " + p.hint
}

// maxErrors ends the reading of a file that is wrong all over: nobody fixes
// more at once.
const maxErrors = 50

// report collects what is wrong with one file.
type report struct {
	src    source
	errs   []placedError
	places map[int]bool // with an error already: what follows from it is not said
}

type placedError struct {
	at  int
	err Error
}

func newReport(src source) *report { return &report{src: src, places: map[int]bool{}} }

// full reports whether there is no use in looking further.
func (r *report) full() bool { return len(r.errs) >= maxErrors }

// add notes an error at the byte offset at. Only the first one at a place is
// kept.
func (r *report) add(at int, err error) {
	if r.full() || r.places[at] {
		return
	}
	r.places[at] = true
	p, ok := err.(problem)
	if !ok {
		p = problem{message: err.Error()}
	}
	line, column := r.src.position(at)
	r.errs = append(r.errs, placedError{at, Error{r.src.name, line, column, p.message, p.hint}})
}

// addf is add for an error without a hint of its own.
func (r *report) addf(at int, format string, args ...any) {
	r.add(at, problem{message: fmt.Sprintf(format, args...)})
}

// err returns what was collected, in the order of the file, or nil.
func (r *report) err() error {
	if len(r.errs) == 0 {
		return nil
	}
	slices.SortStableFunc(r.errs, func(a, b placedError) int { return a.at - b.at })
	errs := make(Errors, 0, len(r.errs)+1)
	for _, e := range r.errs {
		errs = append(errs, e.err)
	}
	if r.full() {
		errs = append(errs, Error{File: r.src.name, Message: fmt.Sprintf("these are the first %d errors; fix them and check again", maxErrors)})
	}
	return errs
}
