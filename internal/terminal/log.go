package terminal

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// Colours of a terminal, by what they say.
const (
	colourWarning = "\x1b[33m" // yellow
	colourError   = "\x1b[31m" // red
	colourNone    = "\x1b[0m"
)

// Log is a log for a person at a terminal: the time of day, the level
// and the message in front of the fields.
type Log struct {
	fields slog.Handler // writes to line
	line   *bytes.Buffer
	lock   *sync.Mutex // of line and out
	out    io.Writer
}

// NewLog returns a log that writes to a terminal.
func NewLog(out io.Writer) *Log {
	line := new(bytes.Buffer)
	fields := slog.NewTextHandler(line, &slog.HandlerOptions{ReplaceAttr: withoutHead})
	return &Log{fields: fields, line: line, lock: new(sync.Mutex), out: out}
}

// withoutHead drops the fields that are written in front.
func withoutHead(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && (a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
		return slog.Attr{}
	}
	return a
}

// Enabled is as slog.Handler wants it.
func (l *Log) Enabled(ctx context.Context, level slog.Level) bool {
	return l.fields.Enabled(ctx, level)
}

// Handle writes one line.
func (l *Log) Handle(ctx context.Context, r slog.Record) error {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.line.Reset()
	fmt.Fprintf(l.line, "%s %s %s ", r.Time.Format(time.TimeOnly), shortLevel(r.Level), Line(r.Message))
	r.Time = time.Time{} // it is written
	if err := l.fields.Handle(ctx, r); err != nil {
		return err
	}
	_, err := l.out.Write(append(bytes.TrimRight(l.line.Bytes(), " \n"), '\n'))
	return err
}

// WithAttrs returns a log whose lines have these fields, too.
func (l *Log) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *l
	with.fields = l.fields.WithAttrs(attrs)
	return &with
}

// WithGroup returns a log whose fields are those of a group.
func (l *Log) WithGroup(name string) slog.Handler {
	with := *l
	with.fields = l.fields.WithGroup(name)
	return &with
}

func shortLevel(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return colourError + "ERR" + colourNone
	case l >= slog.LevelWarn:
		return colourWarning + "WRN" + colourNone
	case l >= slog.LevelInfo:
		return "INF"
	}
	return "DBG"
}
