package systemd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/slogtest"
	"time"
)

// parse reads journald's native protocol, as journald does.
func parse(t *testing.T, entry string) map[string]string {
	t.Helper()
	fields := map[string]string{}
	for rest := entry; rest != ""; {
		line, after, found := strings.Cut(rest, "\n")
		if !found {
			t.Fatalf("the last line of %q does not end", entry)
		}
		if name, value, text := strings.Cut(line, "="); text {
			fields[name], rest = value, after
			continue
		}
		n := binary.LittleEndian.Uint64([]byte(after[:8]))
		fields[line] = after[8 : 8+n]
		if after[8+n] != '\n' {
			t.Fatalf("the field %s of %q does not end", line, entry)
		}
		rest = after[8+n+1:]
	}
	return fields
}

func TestTheJournalGetsFields(t *testing.T) {
	name := filepath.Join(t.TempDir(), "journal")
	l := listen(t, name)
	var stderr bytes.Buffer
	log := slog.New(newJournal(name, &stderr, slog.LevelInfo))
	log.Debug("not said")
	log.With("home", "attic").WithGroup("peer").Warn("no answer",
		"last-seen", 3*time.Second, "error", errors.New("line one\nline two"), slog.Group("at", "port", 443))
	entry, _ := l.next(t)
	got := parse(t, entry)
	for name, want := range map[string]string{
		"MESSAGE":                  `no answer home=attic peer.last-seen=3s peer.error="line one\nline two" peer.at.port=443`,
		"PRIORITY":                 "4",
		"SYSLOG_IDENTIFIER":        "gatelodge",
		"GATELODGE_HOME":           "attic",
		"GATELODGE_PEER_LAST_SEEN": "3s",
		"GATELODGE_PEER_ERROR":     "line one\nline two",
		"GATELODGE_PEER_AT_PORT":   "443",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, wanted %q", name, got[name], want)
		}
	}
	if len(got) != 7 || stderr.Len() > 0 {
		t.Errorf("fields %v, stderr %q", got, stderr.String())
	}
}

func TestPriorities(t *testing.T) {
	for level, want := range map[slog.Level]int{slog.LevelError: 3, slog.LevelWarn: 4, slog.LevelInfo: 6, slog.LevelDebug: 7, slog.LevelError + 4: 3, slog.LevelDebug - 4: 7} {
		if got := priority(level); got != want {
			t.Errorf("%s has priority %d, wanted %d", level, got, want)
		}
	}
}

// journald refuses names that are longer, or that hold anything else.
func TestFieldNames(t *testing.T) {
	for name, want := range map[string]string{
		"error": "GATELODGE_ERROR", "again_in": "GATELODGE_AGAIN_IN", "peer.größe 2": "GATELODGE_PEER_GR__E_2",
		strings.Repeat("x", 100): "GATELODGE_" + strings.Repeat("X", maxName-10),
	} {
		if got := fieldName(name); got != want {
			t.Errorf("%q becomes %q, wanted %q", name, got, want)
		}
	}
}

func TestALogLineIsNeverTooLong(t *testing.T) {
	name := filepath.Join(t.TempDir(), "journal")
	l := listen(t, name)
	slog.New(newJournal(name, os.Stderr, slog.LevelInfo)).Info("long", "what", strings.Repeat("ä", 1<<20))
	entry, _ := l.next(t)
	got := parse(t, entry)
	if what := got["GATELODGE_WHAT"]; len(what) > maxField+3 || !strings.HasSuffix(what, "ä…") {
		t.Errorf("a value of %d bytes, ending in %q", len(what), what[len(what)-6:])
	}
}

func TestWithoutAJournalItIsStderr(t *testing.T) {
	var stderr bytes.Buffer
	log := slog.New(newJournal(filepath.Join(t.TempDir(), "none"), &stderr, slog.LevelInfo))
	log.Error("cannot\nstart", "why", "a b")
	if got, want := stderr.String(), "<3>cannot / start why=\"a b\"\n"; got != want {
		t.Errorf("said %q, wanted %q", got, want)
	}
}

func TestStderrIsTheJournalOnlyIfSystemdSaysSo(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	s := info.Sys().(*syscall.Stat_t)
	for device, want := range map[string]bool{
		"": false, "1:2": false, fmt.Sprintf("%d:%d", s.Dev, s.Ino+1): false, fmt.Sprintf("%d:%d", s.Dev, s.Ino): true,
	} {
		if isJournal(file, device) != want {
			t.Errorf("JOURNAL_STREAM=%s: %v", device, !want)
		}
	}
	t.Setenv("JOURNAL_STREAM", "1:2")
	if h := Journal(file, slog.LevelInfo); h != nil {
		t.Error("logs to the journal although stderr is not its")
	}
}

// The handler does what the standard library asks of every handler.
func TestTheHandlersContract(t *testing.T) {
	name := filepath.Join(t.TempDir(), "journal")
	l := listen(t, name)
	slogtest.Run(t, func(*testing.T) slog.Handler { return newJournal(name, os.Stderr, slog.LevelInfo) },
		func(t *testing.T) map[string]any {
			entry, _ := l.next(t)
			attrs := asAttributes(parse(t, entry))
			if !strings.HasSuffix(t.Name(), "zero-time") {
				attrs[slog.TimeKey] = true // journald's own: it stamps what it receives
			}
			return attrs
		})
}

// asAttributes turns fields back into what slogtest looks for.
func asAttributes(fields map[string]string) map[string]any {
	attrs := map[string]any{slog.LevelKey: fields["PRIORITY"]}
	words := strings.Fields(fields["MESSAGE"])
	attrs[slog.MessageKey] = words[0]
	for _, w := range words[1:] {
		name, value, _ := strings.Cut(w, "=")
		in := attrs
		groups := strings.Split(name, ".")
		for _, g := range groups[:len(groups)-1] {
			if in[g] == nil {
				in[g] = map[string]any{}
			}
			in = in[g].(map[string]any)
		}
		in[groups[len(groups)-1]] = value
	}
	return attrs
}
