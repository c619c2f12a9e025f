package config

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// source is the text of a file under its name.
type source struct {
	name string
	data []byte
}

// position returns the line and column, both from 1 and the column in
// characters, of a byte offset.
func (s source) position(at int) (line, column int) {
	before := s.data[:min(at, len(s.data))]
	line = bytes.Count(before, []byte("\n")) + 1
	start := bytes.LastIndexByte(before, '\n') + 1
	return line, utf8.RuneCount(before[start:]) + 1
}

// place returns a byte offset as it is written in errors.
func (s source) place(at int) string {
	line, column := s.position(at)
	return fmt.Sprintf("%s:%d:%d", s.name, line, column)
}

// checkText refuses what is no text at all, before any parser sees it. It
// returns the offset at which the trouble starts.
func (s source) checkText() (at int, err error) {
	if len(s.data) > MaxFileSize {
		return 0, fmt.Errorf("the file has %d bytes; a configuration has at most %d", len(s.data), MaxFileSize)
	}
	if bytes.HasPrefix(s.data, []byte("\xef\xbb\xbf")) {
		return 0, problem{"the file starts with a byte order mark", "save it as UTF-8 without one"}
	}
	for at := 0; at < len(s.data); {
		r, size := utf8.DecodeRune(s.data[at:])
		switch {
		case r == utf8.RuneError && size == 1:
			return at, problem{fmt.Sprintf("the byte 0x%02x is not UTF-8", s.data[at]), "save the file as UTF-8"}
		case r < ' ' && !strings.ContainsRune("\t\r\n", r), r == 0x7f:
			return at, problem{fmt.Sprintf("the control character %U does not belong in a text file", r), "remove it"}
		}
		at += size
	}
	return 0, nil
}

// offset returns the byte offset of a line and a column in bytes, both from 1.
func (s source) offset(line, column int) int {
	at := 0
	for range line - 1 {
		at += bytes.IndexByte(s.data[at:], '\n') + 1
	}
	return min(at+column-1, len(s.data))
}
