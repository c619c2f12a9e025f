// Package printable makes what others have written fit for a terminal and a log.
// A machine over ssh, the other side of a tunnel, a process that names itself:
// none of them may move our cursor, hide our words or fill our memory.
package printable

import (
	"bytes"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

const more = "…"

// Line makes text one line of at most limit bytes. Whatever is not to be seen
// as itself (control characters, those that change the direction of writing,
// what is no UTF-8) becomes U+FFFD, so that it is seen that there was something.
func Line(text string, limit int) string {
	// What is cut off below need not be cleaned, however much it is.
	text, cut := within(text, limit)
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
	if len(text) <= limit && !cut {
		return text
	}
	text, _ = within(text, limit-len(more))
	return text + more
}

// within returns what of a text has at most limit bytes and ends with a whole
// character, and whether that is less than all.
func within(text string, limit int) (string, bool) {
	if len(text) <= limit {
		return text, false
	}
	end := limit
	for end > 0 && limit-end < utf8.UTFMax && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end], true
}

// IsLine reports whether Line would change nothing.
func IsLine(text string, limit int) bool { return Line(text, limit) == text }

// lineSize bounds one line of many, in bytes.
const lineSize = 1000

// Lines makes each line of a text printable, and leaves out empty ones.
func Lines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			b.WriteString(Line(line, lineSize) + "\n")
		}
	}
	return b.String()
}

// Writer passes on what is written to it, line by line: each with a word before
// it that says whose it is, and printable. After some lines it is silent, whatever
// comes.
type Writer struct {
	to     io.Writer
	prefix string
	left   int // of the lines that it will pass on
	line   []byte
}

// NewWriter returns a Writer that passes on a number of lines to another.
func NewWriter(to io.Writer, prefix string, lines int) *Writer {
	return &Writer{to: to, prefix: prefix, left: lines}
}

// Write implements io.Writer. It fails only where the writer below does.
func (w *Writer) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0 && w.left > 0; {
		text, after, ended := bytes.Cut(rest, []byte{'\n'})
		// One byte more than a line has room for says that there was more.
		w.line = append(w.line, text[:min(len(text), lineSize+1-len(w.line))]...)
		rest = after
		if !ended {
			break
		}
		if err := w.Flush(); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// Flush passes on a last line that has no end.
func (w *Writer) Flush() error {
	line := strings.TrimSpace(string(w.line))
	w.line = w.line[:0]
	if line == "" || w.left == 0 {
		return nil
	}
	text := Line(line, lineSize)
	if w.left--; w.left == 0 {
		text = more
	}
	_, err := io.WriteString(w.to, w.prefix+text+"\n")
	return err
}
