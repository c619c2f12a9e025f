package control

import (
	"errors"
	"unicode/utf8"

	"github.com/gatelodge/gatelodge/internal/forward"
)

// A few bytes of JSON can cost a hundred times as many of memory: `{},` is an
// element of a list, and a list grows by copying. So what a message consists
// of is counted before any of it is decoded.

const (
	maxDepth  = 8        // of nested JSON
	maxToken  = 8 << 10  // bytes of one text or number as it is written, more than padding
	maxValues = 16 << 10 // of an answer: 1024 verdicts with 8 notes each
	// maxAsked is the values of a request: none of MaxBody bytes that makes
	// sense has more, since a port takes 8 bytes.
	maxAsked = MaxBody / 8
)

// bounds is what a message may consist of.
type bounds struct {
	list   int // elements of one array, or members of one object
	values int // of all arrays and objects together
}

var (
	requestBounds = bounds{forward.MaxForwards, maxAsked}
	answerBounds  = bounds{forward.MaxForwards, maxValues}
	doctorBounds  = bounds{maxLooked, maxValues}
)

// The reasons why a message is not decoded.
var (
	errNotText   = errors.New("it is not UTF-8")
	errTooDeep   = errors.New("it is nested too deep")
	errTooMany   = errors.New("it has too many parts")
	errLongToken = errors.New("one of its texts is too long")
)

// check refuses a message with more parts than its bounds. Whether it is JSON
// at all is for its decoder to say.
func (b bounds) check(message []byte) error {
	if !utf8.Valid(message) {
		return errNotText // what is not would grow threefold by being replaced
	}
	c := counter{bounds: b}
	for _, char := range message {
		if err := c.take(char); err != nil {
			return err
		}
	}
	return nil
}

// counter reads a message byte by byte.
type counter struct {
	bounds
	depth           int
	elements        [maxDepth + 1]int // of the list at each depth
	total           int
	token           int // bytes of the text or number so far
	quoted, escaped bool
}

func (c *counter) take(char byte) error {
	switch {
	case c.escaped:
		c.escaped = false
	case c.quoted && char == '\\':
		c.escaped = true
	case char == '"':
		c.quoted, c.token = !c.quoted, 0
	case c.quoted:
	default:
		return c.structure(char)
	}
	return c.more()
}

// structure takes a byte that is not part of a text.
func (c *counter) structure(char byte) error {
	switch char {
	case '{', '[':
		if c.depth++; c.depth > maxDepth {
			return errTooDeep
		}
		c.elements[c.depth], c.token = 0, 0
		return c.element()
	case ',':
		c.token = 0
		return c.element()
	case '}', ']':
		c.depth, c.token = max(0, c.depth-1), 0
	case ':', ' ', '\t', '\r', '\n':
		c.token = 0
	default:
		return c.more()
	}
	return nil
}

// element counts an element of the list that is being read.
func (c *counter) element() error {
	c.elements[c.depth]++
	c.total++
	if c.elements[c.depth] > c.list || c.total > c.values {
		return errTooMany
	}
	return nil
}

func (c *counter) more() error {
	if c.token++; c.token > maxToken {
		return errLongToken
	}
	return nil
}
