package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gatelodge/gatelodge/internal/cli/command"
	"github.com/gatelodge/gatelodge/internal/cli/command/commandtest"
	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/status"
)

// standing is a home whose daemon tells what the test says.
type standing struct {
	root  string
	mu    sync.Mutex
	is    status.Report
	asked int
}

func (s *standing) set(change func(r *status.Report)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.is)
}

// ServeHTTP is the daemon's answer to status.
func (s *standing) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	_ = json.NewEncoder(w).Encode(s.is.Complete())
}

// awaitAsked waits until the daemon has been asked so many times more.
func (s *standing) awaitAsked(t *testing.T, more int) {
	t.Helper()
	asked := func() int { s.mu.Lock(); defer s.mu.Unlock(); return s.asked }
	for begin, end := asked(), time.Now().Add(20*time.Second); asked() < begin+more; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the daemon is no longer asked")
		}
	}
}

// newStanding returns a home that is well, with or without a daemon.
func newStanding(t *testing.T, runs bool) *standing {
	t.Helper()
	s := &standing{root: t.TempDir()}
	s.is = status.Report{Role: "home", Running: true, Since: time.Now().Add(-time.Hour), Seen: time.Now(), Gates: []status.Link{{Name: "gate", Connected: true}}}
	for i := range 40 {
		s.is.Forwards = append(s.is.Forwards, status.Forward{Name: fmt.Sprintf("service-%02d", i), Gate: "gate", Ports: []string{"80/tcp"}, State: status.Granted})
	}
	paths := layout.Paths{Root: s.root}
	if err := os.MkdirAll(paths.Config(), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(paths.Config(), "home.toml"), []byte("version = 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if runs {
		commandtest.ServeSocket(t, paths.Socket(), s)
	}
	return s
}

// newTerminal returns both ends of a terminal of 24 rows of 80 columns.
func newTerminal(t *testing.T) (keyboard, terminal *os.File) {
	t.Helper()
	open := func(name string) *os.File {
		f, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			t.Fatal("no pseudo-terminals here: ", err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	keyboard = open("/dev/ptmx")
	unlocked := 0
	if err := unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, unlocked); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal = open(fmt.Sprintf("/dev/pts/%d", n))
	if err := unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80}); err != nil {
		t.Fatal(err)
	}
	return keyboard, terminal
}

// shown keeps what comes out of a terminal.
type shown struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (s *shown) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

// String is all that has come.
func (s *shown) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// await waits until all of that has come.
func (s *shown) await(t *testing.T, texts ...string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		missing := ""
		for _, want := range texts {
			if !strings.Contains(s.String(), want) {
				missing = want
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%q does not come; there is %q", missing, s)
		}
	}
}

// watch runs status --watch; the code comes once it has ended.
func watch(ctx context.Context, root string, in, out *os.File) (code <-chan int) {
	codes := make(chan int, 1)
	go func() {
		var said bytes.Buffer
		c := Run(ctx, []string{"--root", root, "status", "--watch"}, in, out, &said)
		if said.Len() > 0 {
			c = -1
		}
		codes <- c
	}()
	return codes
}

// The whole terminal is taken, fits, and is given back by q, Ctrl-C and SIGTERM.
func TestWatchOnATerminal(t *testing.T) {
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "1")
	t.Setenv("COLUMNS", "")
	for _, c := range []struct {
		end  string
		runs bool
		says string
	}{
		{"q", true, "✓ 40 forwards reachable"},
		{"a signal", true, "✓ 40 forwards reachable"},
		{"q", false, "✗ the daemon is not running → gatelodge up"},
	} {
		s := newStanding(t, c.runs)
		keyboard, terminal := newTerminal(t)
		out := new(shown)
		go func() { _, _ = io.Copy(out, keyboard) }()
		ctx, stop := context.WithCancel(t.Context())
		code := watch(ctx, s.root, terminal, terminal)
		out.await(t, "\x1b[?1049h", c.says, "q or Ctrl-C ends")
		if c.runs {
			out.await(t, "more lines")
			picture, _, _ := strings.Cut(out.String(), "q or Ctrl-C ends")
			if n := strings.Count(picture, "\n"); n != 23 {
				t.Errorf("%d rows are shown on 24", n+1)
			}
			s.set(func(r *status.Report) { r.Gates[0].Connected = false })
			out.await(t, "nobody can reach this home")
		}
		if c.end == "q" {
			if _, err := keyboard.WriteString("xq"); err != nil {
				t.Fatal(err)
			}
		} else {
			stop()
		}
		if got := <-code; got != command.ExitOK {
			t.Errorf("ended by %s: exit code %d", c.end, got)
		}
		out.await(t, "\x1b[?1049l")
		stop()
	}
}

// Without a terminal there is a dated report for each change, and an end once
// nobody reads.
func TestWatchWithoutATerminal(t *testing.T) {
	s := newStanding(t, true)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	out := new(shown)
	read := make(chan error, 1)
	go func() {
		for {
			part := make([]byte, 1<<16)
			n, err := r.Read(part)
			_, _ = out.Write(part[:n])
			if err != nil || strings.Contains(out.String(), "nobody can reach") {
				read <- err
				return
			}
		}
	}()
	code := watch(t.Context(), s.root, nil, w)
	out.await(t, "✓ 40 forwards reachable")
	s.set(func(r *status.Report) { r.Forwards[0].Connections, r.Since = 7, r.Since.Add(-time.Hour) }) // is no news
	s.awaitAsked(t, 2)
	s.set(func(r *status.Report) { r.Gates[0].Connected = false })
	if err := <-read; err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "--- 20"); n != 2 {
		t.Errorf("%d reports for one change:\n%s", n, out)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if got := <-code; got != command.ExitOK {
		t.Errorf("exit code %d", got)
	}
}

// The exit code says how it stands, and nothing but the report is printed.
func TestTheExitCodeOfStatus(t *testing.T) {
	for _, c := range []struct {
		runs   bool
		change func(r *status.Report)
		want   int
	}{
		{true, func(*status.Report) {}, command.ExitOK},
		{true, func(r *status.Report) { r.Forwards[3].State = status.Refused }, command.ExitFailed},
		{true, func(r *status.Report) { r.Problems = []string{"a"} }, command.ExitFailed},
		{true, func(r *status.Report) { r.Gates[0].Connected = false }, command.ExitUnreachable},
		{false, func(*status.Report) {}, command.ExitUnreachable},
	} {
		s := newStanding(t, c.runs)
		s.set(c.change)
		for _, flags := range [][]string{nil, {"--json"}} {
			var out, said bytes.Buffer
			code := Run(t.Context(), append([]string{"--root", s.root, "status"}, flags...), nil, &out, &said)
			if code != c.want || said.Len() > 0 || out.Len() == 0 {
				t.Errorf("exit code %d, wanted %d; beside the report is said %q", code, c.want, &said)
			}
			if flags != nil {
				var r status.Report
				if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.Verdict == nil || r.Verdict.Text == "" {
					t.Errorf("%v: %s", err, &out)
				}
			}
		}
	}
}
