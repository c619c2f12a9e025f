package systemd

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// journalSocket is where journald takes its native protocol
// (systemd.io/JOURNAL_NATIVE_PROTOCOL).
const journalSocket = "/run/systemd/journal/socket"

// identifier is what `journalctl --identifier` finds the lines by.
const identifier = "gatelodge"

// maxField bounds one field in bytes: a datagram of a few of them fits any
// socket's buffer.
const maxField = 16 << 10

// Journal returns a handler that logs to the journal, with every attribute as
// a field of its own, GATELODGE_NAME, and as text in the message. It returns
// nil where stderr is not the journal: the lines would not be found there.
func Journal(stderr *os.File, level slog.Leveler) slog.Handler {
	if !isJournal(stderr, os.Getenv("JOURNAL_STREAM")) {
		return nil
	}
	return newJournal(journalSocket, stderr, level)
}

// isJournal compares a stream with what systemd says is the journal's, by
// device and inode: stderr may have been led elsewhere since.
func isJournal(stream *os.File, device string) bool {
	if device == "" {
		return false
	}
	info, err := stream.Stat()
	if err != nil {
		return false
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && device == fmt.Sprintf("%d:%d", s.Dev, s.Ino)
}

// journal is a slog.Handler.
type journal struct {
	socket *socket // nil: it could not be opened
	stderr io.Writer
	level  slog.Leveler
	prefix string // of the names of attributes, by group
	fields []field
}

// field is one attribute, its name with those of its groups.
type field struct{ name, value string }

func newJournal(path string, stderr io.Writer, level slog.Leveler) *journal {
	s, err := openSocket(path)
	j := &journal{socket: s, stderr: stderr, level: level}
	if err != nil {
		fmt.Fprintf(stderr, "<%d>cannot log to the journal's socket, logging here: %v\n", priority(slog.LevelWarn), err)
	}
	return j
}

// Enabled implements slog.Handler.
func (j *journal) Enabled(_ context.Context, l slog.Level) bool { return l >= j.level.Level() }

// WithAttrs implements slog.Handler.
func (j *journal) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *j
	next.fields = slices.Clone(j.fields)
	for _, a := range attrs {
		next.fields = appendField(next.fields, j.prefix, a)
	}
	return &next
}

// WithGroup implements slog.Handler.
func (j *journal) WithGroup(name string) slog.Handler {
	if name == "" {
		return j
	}
	next := *j
	next.prefix += name + "."
	return &next
}

// Handle implements slog.Handler.
func (j *journal) Handle(_ context.Context, r slog.Record) error {
	fields := slices.Clone(j.fields)
	for a := range r.Attrs {
		fields = appendField(fields, j.prefix, a)
	}
	message := text(r.Message, fields)
	if j.socket != nil {
		err := j.socket.send(entry(r.Level, message, fields), nil)
		if err == nil || errors.Is(err, unix.EAGAIN) {
			return err // a journal that hangs would hang on stderr too
		}
	}
	_, err := fmt.Fprintf(j.stderr, "<%d>%s\n", priority(r.Level), strings.ReplaceAll(message, "\n", " / "))
	return err
}

// appendField adds an attribute, or those of a group.
func appendField(fields []field, prefix string, a slog.Attr) []field {
	value := a.Value.Resolve()
	if value.Kind() != slog.KindGroup {
		if a.Key == "" {
			return fields // as slog.Handler asks: an empty attribute
		}
		return append(fields, field{prefix + a.Key, cut(value.String())})
	}
	if a.Key != "" {
		prefix += a.Key + "."
	}
	for _, member := range value.Group() {
		fields = appendField(fields, prefix, member)
	}
	return fields
}

// cut keeps a value within what a field may take.
func cut(value string) string {
	if len(value) <= maxField {
		return value
	}
	return strings.ToValidUTF8(value[:maxField], "") + "…"
}

// text is what `journalctl` shows: the message with the attributes after it.
func text(message string, fields []field) string {
	var b strings.Builder
	b.WriteString(message)
	for _, f := range fields {
		b.WriteByte(' ')
		b.WriteString(f.name)
		b.WriteByte('=')
		if f.value == "" || strings.ContainsAny(f.value, " \t\n\"=") {
			b.WriteString(strconv.Quote(f.value))
		} else {
			b.WriteString(f.value)
		}
	}
	return cut(b.String())
}

// entry frames a log line as journald wants it.
func entry(l slog.Level, message string, fields []field) []byte {
	var b bytes.Buffer
	appendEntry(&b, "MESSAGE", message)
	appendEntry(&b, "PRIORITY", strconv.Itoa(priority(l)))
	appendEntry(&b, "SYSLOG_IDENTIFIER", identifier)
	for _, f := range fields {
		appendEntry(&b, fieldName(f.name), f.value)
	}
	return b.Bytes()
}

// appendEntry writes NAME=VALUE, or for values of several lines the name and
// the value with its length before it.
func appendEntry(b *bytes.Buffer, name, value string) {
	b.WriteString(name)
	if !strings.Contains(value, "\n") {
		b.WriteByte('=')
		b.WriteString(value)
		b.WriteByte('\n')
		return
	}
	b.WriteByte('\n')
	b.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(value))))
	b.WriteString(value)
	b.WriteByte('\n')
}

// maxName is how long journald lets a field's name be.
const maxName = 64

// fieldName makes the journal's name of an attribute's: capital letters,
// digits and underscores.
func fieldName(name string) string {
	keep := func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		default:
			return '_'
		}
	}
	full := "GATELODGE_" + strings.Map(keep, name)
	return full[:min(len(full), maxName)]
}

// priority is syslog's number for a level.
func priority(l slog.Level) int {
	switch {
	case l >= slog.LevelError:
		return 3
	case l >= slog.LevelWarn:
		return 4
	case l >= slog.LevelInfo:
		return 6
	default:
		return 7
	}
}
