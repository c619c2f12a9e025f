package terminal

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"
	"time"
)

func TestLog(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(NewLog(&out))
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		level  slog.Level
		text   string
		fields []any
		want   string
	}{
		{slog.LevelInfo, "up", nil, "03:04:05 INF up\n"},
		{slog.LevelInfo, "published", []any{"forward", "web", "to", "a b"}, "03:04:05 INF published forward=web to=\"a b\"\n"},
		{slog.LevelWarn, "odd\x1b[2J", []any{"name", "\x1b]0;x\a"}, "03:04:05 \x1b[33mWRN\x1b[0m odd�[2J name=\"\\x1b]0;x\\a\"\n"},
		{slog.LevelError, "broken", []any{"error", errors.New("no route")}, "03:04:05 \x1b[31mERR\x1b[0m broken error=\"no route\"\n"},
	} {
		out.Reset()
		r := slog.NewRecord(at, c.level, c.text, 0)
		r.Add(c.fields...)
		if err := log.Handler().Handle(t.Context(), r); err != nil || out.String() != c.want {
			t.Errorf("got %q, %v; want %q", out.String(), err, c.want)
		}
	}
	if log.Enabled(t.Context(), slog.LevelDebug) {
		t.Error("it writes what is for finding mistakes")
	}
	out.Reset()
	log.With("home", "attic").WithGroup("peer").Info("here", "port", 5)
	if got := out.String(); got[len("03:04:05"):] != " INF here home=attic peer.port=5\n" {
		t.Errorf("with fields and a group: %q", got)
	}
}
