package config

import (
	"bytes"

	"github.com/pelletier/go-toml/v2/unstable"
)

// line is a run of bytes with its line ending.
type line struct{ start, end int }

func (l line) blank(data []byte) bool { return len(bytes.TrimSpace(data[l.start:l.end])) == 0 }

func (l line) comment(data []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(data[l.start:l.end]), []byte("#"))
}

// layout is where the tables of a file stand in it, by lines. Only editing
// needs it, and only of files that have been read without an error.
type layout struct {
	data     []byte
	lines    []line
	sections []section
}

// section is a header with the keys up to the next one. The keys before the
// first header are a section without keys of its own.
type section struct {
	keys       []string
	header     int // line of the header
	last       int // last line that is not a comment or blank
	assignment []assignment
}

// assignment is a `key = value` with the range of its value.
type assignment struct {
	keys       []string
	line       int
	start, end int
}

func readLayout(data []byte) *layout {
	l := &layout{data: data, sections: []section{{header: -1, last: -1}}}
	for start := 0; start < len(data); {
		end := len(data)
		if i := bytes.IndexByte(data[start:], '\n'); i >= 0 {
			end = start + i + 1
		}
		l.lines = append(l.lines, line{start, end})
		start = end
	}
	p := unstable.Parser{}
	p.Reset(data)
	for p.NextExpression() {
		l.expression(p.Expression())
	}
	return l
}

func (l *layout) expression(n *unstable.Node) {
	var keys []string
	at := -1
	for it := n.Key(); it.Next(); {
		keys = append(keys, string(it.Node().Data))
		if at < 0 {
			at = int(it.Node().Raw.Offset)
		}
	}
	if n.Kind != unstable.KeyValue {
		on := l.lineOf(at)
		l.sections = append(l.sections, section{keys: keys, header: on, last: on})
		return
	}
	s := &l.sections[len(l.sections)-1]
	a := assignment{keys, l.lineOf(at), valueStart(l.data, n), int(n.Raw.Offset + n.Raw.Length)}
	s.assignment = append(s.assignment, a)
	s.last = l.lineOf(a.end - 1)
}

// lineOf returns the number, from 0, of the line with the given byte.
func (l *layout) lineOf(at int) int {
	low, high := 0, len(l.lines)
	for low+1 < high {
		if middle := (low + high) / 2; l.lines[middle].start <= at {
			low = middle
		} else {
			high = middle
		}
	}
	return low
}

// remove returns the file without the sections for which the function says
// so, each with the comments that belong to it.
func (l *layout) remove(which func(section) bool) []byte {
	var kept []byte
	from := 0
	for i := 1; i < len(l.sections); i++ {
		if !which(l.sections[i]) {
			continue
		}
		first := i
		for i+1 < len(l.sections) && which(l.sections[i+1]) {
			i++
		}
		start, end := l.extent(first, i)
		kept = append(kept, l.data[from:start]...)
		from = end
	}
	return append(kept, l.data[from:]...)
}

// extent returns the bytes of a run of sections: with the comments right
// above the first header, those right below the last key unless they stand
// right above the next header, and the blank lines up to what follows.
func (l *layout) extent(first, last int) (start, end int) {
	top, next := l.top(first), len(l.lines)
	if last+1 < len(l.sections) {
		next = l.top(last + 1)
	}
	after := l.sections[last].last + 1
	for after < next && l.lines[after].comment(l.data) {
		after++
	}
	for after < next && l.lines[after].blank(l.data) {
		after++
	}
	if after == len(l.lines) {
		return l.tail(top), len(l.data)
	}
	return l.lines[top].start, l.lines[after].start
}

// top returns the first of the comment lines right above a section's header.
// The section before ends above it: what looks like a comment inside its last
// value is text.
func (l *layout) top(i int) int {
	top := l.sections[i].header
	for top-1 > l.sections[i-1].last && l.lines[top-1].comment(l.data) {
		top--
	}
	return top
}

// tail returns where to cut what stands last in the file: with the blank line
// before it, and so that a file without a final newline stays one.
func (l *layout) tail(first int) int {
	if first > 0 && l.lines[first-1].blank(l.data) {
		first--
	}
	start := l.lines[first].start
	if !bytes.HasSuffix(l.data, []byte("\n")) {
		start -= len(ending(l.data[:start]))
	}
	return start
}

// ending returns the line ending that data ends with.
func ending(data []byte) []byte {
	switch {
	case bytes.HasSuffix(data, []byte("\r\n")):
		return []byte("\r\n")
	case bytes.HasSuffix(data, []byte("\n")):
		return []byte("\n")
	default:
		return nil
	}
}

// newlineOf returns the line ending that the file uses, going by its last one.
func newlineOf(data []byte) []byte {
	if last := bytes.LastIndexByte(data, '\n'); last >= 0 {
		return ending(data[:last+1])
	}
	return []byte("\n")
}

// appendTable adds lines of a table at the end, behind a blank line and with
// the file's own line endings. Removing it again gives the same bytes.
func appendTable(data []byte, lines []string) []byte {
	newline := newlineOf(data)
	out := bytes.Clone(data)
	whole := len(data) == 0 || ending(data) != nil
	if !whole {
		out = append(out, newline...)
	}
	for _, text := range lines {
		out = append(out, newline...)
		out = append(out, text...)
	}
	if whole {
		out = append(out, newline...)
	}
	return out
}
