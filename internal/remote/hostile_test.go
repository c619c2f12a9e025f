package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

// A VPS is not trusted with the owner's terminal, memory or passwords: not with
// what its shell, its sudo or its gatelodge print, and not with its users' names.

// escapes do something to a terminal, or to its reader.
const escapes = "\x1b[2J\x1b]0;title\a\r\x1b[K[sudo] password for alice: \x1b[8m\x00\u202e\u2066\u009b31m\x9b31m\xff\x7f\u200b"

// isShown reports whether a text can be shown, in lines of bounded length.
func isShown(text string) bool {
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if len(line) > 4000 || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return false
		}
	}
	return utf8.ValidString(text) && len(text) < maxTold*1100
}

// hostileSSH is an ssh that prints what it is told to, on both streams, beside
// what the commands themselves print.
const hostileSSH = `#!/bin/sh
for word; do [ "$word" != -O ] || exit 0; done
for word; do :; done
[ -z "$PLAY_ERR" ] || cat "$PLAY_ERR" >&2
[ -z "$PLAY_ERRS" ] || yes "$PLAY_ERRS" | head -c "$PLAY_BYTES" >&2
[ -z "$PLAY_BEFORE" ] || cat "$PLAY_BEFORE"
[ -z "$PLAY_BEFORES" ] || yes "$PLAY_BEFORES" | head -c "$PLAY_BYTES"
sh -c "$word" || status=$?
[ -z "$PLAY_AFTER" ] || yes "$PLAY_AFTER" | head -c "$PLAY_BYTES"
exit ${PLAY_STATUS:-$status}
`

// hostile puts such an ssh, and an id, in place.
func hostile(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	id := "#!/bin/sh\ncase $1 in -u) echo 1000 ;; *) cat " + dir + "/name ;; esac\n"
	for file, text := range map[string]string{"ssh": hostileSSH, "id": id, "name": name, "escapes": escapes + "\n" + escapes} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return dir
}

func connectTo(t *testing.T, terminal io.Writer) (*Conn, error) {
	t.Helper()
	c, err := Connect(t.Context(), Options{Destination: "root@vps", Terminal: terminal})
	if err == nil {
		t.Cleanup(func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return c, err
}

func TestALoginNameIsAName(t *testing.T) {
	for name, ok := range map[string]bool{
		"debian": true, "_apt": true, "svc$": true, "EXAMPLE\\alice": true, "alice@example.org": true, "a.b-c+d": true,
		"": false, "-alice": false, "alice and bob": false, "x" + escapes: false, "x\x1b[8m": false, "x\u202ey": false, "x\x9b8m": false,
		"[sudo]": false, "alice:": false, strings.Repeat("x", 100): false, strings.Repeat("x", 1<<20): false,
	} {
		hostile(t, name)
		var terminal bytes.Buffer
		c, err := connectTo(t, &terminal)
		if (err == nil) != ok || ok && c.User() != name {
			t.Errorf("%.80q: %v", name, err)
		}
		if err != nil && !isShown(err.Error()) || !isShown(terminal.String()) {
			t.Errorf("%.80q: the terminal gets %.300q and %.300q", name, err, terminal.String())
		}
	}
}

// Whatever stream the VPS writes to, and whenever.
func TestWordsOfTheVPSAreCleaned(t *testing.T) {
	dir := hostile(t, "debian")
	dirty := filepath.Join(dir, "escapes")
	var terminal bytes.Buffer
	c, err := connectTo(t, &terminal)
	if err != nil {
		t.Fatal(err)
	}
	command := Command{Script: "exit $1", Args: []string{"3"}}
	look := func(ctx context.Context, _ Command) (string, error) { _, err := c.Look(ctx, ""); return "", err }
	connect := func(context.Context, Command) (string, error) { _, err := connectTo(t, &terminal); return "", err }
	for name, run := range map[string]func(context.Context, Command) (string, error){"run": c.Run, "root": c.Root, "look": look, "connect": connect} {
		for _, stream := range []string{"PLAY_ERR", "PLAY_BEFORE"} {
			for _, status := range []string{"0", "3", "255"} {
				t.Setenv(stream, dirty)
				t.Setenv("PLAY_STATUS", status)
				_, err := run(t.Context(), command)
				if err != nil && !isShown(err.Error()) {
					t.Errorf("%s, %s, exit status %s: %q", name, stream, status, err)
				}
				if e, ok := errors.AsType[*Error](err); ok && !isShown(e.Hint) {
					t.Errorf("%s, %s, exit status %s: hint %q", name, stream, status, e.Hint)
				}
				t.Setenv(stream, "")
			}
		}
	}
	if !isShown(terminal.String()) || !strings.Contains(terminal.String(), "ssh: ") {
		t.Errorf("the terminal gets %q", terminal.String())
	}
	for line := range strings.Lines(terminal.String()) {
		if !strings.HasPrefix(line, "ssh: ") {
			t.Errorf("a line that does not say whose it is: %q", line)
		}
	}
}

// A gigabyte, in short lines, in one line, on either stream, before or after what
// was asked for: it is not kept, and what goes on for ever is ended.
func TestWordsOfTheVPSAreBounded(t *testing.T) {
	for _, c := range []struct {
		stream, word string
		size         int
		fails        bool
	}{
		{"PLAY_ERRS", "line", 1 << 30, false}, {"PLAY_ERRS", strings.Repeat("x", 100_000), 1 << 27, false}, {"PLAY_ERRS", strings.Repeat("\x1b", 1000), 1 << 27, false},
		{"PLAY_BEFORES", "line", 1 << 30, true}, {"PLAY_BEFORES", strings.Repeat("x", 100_000), 1 << 30, true},
		{"PLAY_AFTER", "line", 1 << 30, true}, {"PLAY_AFTER", strings.Repeat("\x1b", 1000), 1 << 30, true},
	} {
		t.Run(fmt.Sprintf("%s %.4q", c.stream, c.word), func(t *testing.T) {
			hostile(t, "debian")
			var terminal bytes.Buffer
			conn, err := connectTo(t, &terminal)
			if err != nil {
				t.Fatal(err)
			}
			t.Setenv(c.stream, c.word)
			t.Setenv("PLAY_BYTES", fmt.Sprint(c.size))
			before := allocated()
			_, err = conn.Run(t.Context(), Command{Script: "true"})
			if (err != nil) != c.fails || err != nil && !strings.Contains(err.Error(), "more than 3 MB") {
				t.Errorf("%.200v", err)
			}
			_, err = connectTo(t, &terminal)
			if (err != nil) != c.fails {
				t.Errorf("connect: %.200v", err)
			}
			if took := allocated() - before; took > 64<<20 {
				t.Errorf("it took %d MB in all", took>>20)
			}
			if !isShown(terminal.String()) {
				t.Errorf("the terminal gets %d bytes: %.200q", terminal.Len(), terminal.String())
			}
		})
	}
}

// allocated is what has been allocated since the start, freed or not.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// A command that never ends its answer is ended here, though it would go on.
func TestAnEndlessAnswerEnds(t *testing.T) {
	hostile(t, "debian")
	c, err := connectTo(t, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := c.Run(ctx, Command{Script: "trap '' PIPE; yes; sleep 1000"}); err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "more than 3 MB") {
		t.Errorf("%v", err)
	}
}
