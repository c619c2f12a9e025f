package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/cli/command"
	"github.com/gatelodge/gatelodge/internal/cli/command/commandtest"
	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/local"
	"github.com/gatelodge/gatelodge/internal/problem"
)

func TestErrorsHaveAVoiceAndAnExitCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		hint string
	}{
		{errors.New("odd"), command.ExitFailed, ""},
		{command.Fail(command.ExitUsage, "look here", "wrong"), command.ExitUsage, "look here"},
		{fmt.Errorf("outside: %w", command.Fail(command.ExitDiffers, "gatelodge apply", "differs")), command.ExitDiffers, "gatelodge apply"},
		{fmt.Errorf("x: %w", layout.ErrNoRole), command.ExitFailed, "gate init"},
		{fmt.Errorf("x: %w", local.ErrNotRunning), command.ExitUnreachable, "gatelodge up"},
		{fmt.Errorf("x: %w", fs.ErrPermission), command.ExitPrivilege, "sudo"},
		{&local.RefusedError{Message: "no", Hint: "ask"}, command.ExitFailed, "ask"},
		{config.Errors{{File: "home.toml", Line: 1, Column: 1, Message: "bad"}}, command.ExitFailed, "gatelodge check"},
	} {
		var out bytes.Buffer
		if code := command.Report(&out, c.err, false); code != c.code {
			t.Errorf("%v: exit code %d, wanted %d", c.err, code, c.code)
		}
		if !strings.HasPrefix(out.String(), "gatelodge: error: ") || !strings.Contains(out.String(), c.hint) {
			t.Errorf("%v is said as %q", c.err, out.String())
		}
	}
}

// A line of the daemon's, or of a file's name, must not be taken for one of
// ours.
func TestEveryLineOfAnErrorIsMarked(t *testing.T) {
	var out bytes.Buffer
	command.Report(&out, errors.New("one\ntwo"), false)
	if got := out.String(); got != "gatelodge: error: one\ngatelodge: error: two\n" {
		t.Errorf("said %q", got)
	}
}

func TestTheRoleOfAFileIsInItsName(t *testing.T) {
	for name, want := range map[string]forward.Role{"home.toml": forward.Home, "a/b/my-home.toml": forward.Home, "gate.toml": forward.Gate, "x": forward.Gate} {
		if got := roleOfFile(name); got != want {
			t.Errorf("roleOfFile(%q) = %s", name, got)
		}
	}
}

// Whatever words have come into an error, it is lines of ours.
func TestErrorsAreShownPrintable(t *testing.T) {
	var out bytes.Buffer
	command.Report(&out, command.Fail(command.ExitFailed, "try\x1b[2J\n[sudo] password:", "no\tsuch file: \u202e\r\x1b[8m\nsecond line\x9b"), false)
	want := "gatelodge: error: no such file: \ufffd\ufffd\ufffd[8m\ngatelodge: error: second line\ufffd\ngatelodge: hint: try\ufffd[2J\ufffd[sudo] password:\n"
	if out.String() != want {
		t.Errorf("%q, not %q", out.String(), want)
	}
}

// What a program asks for with --json it also gets of an error: one line, on the
// standard error, with the exit code.
func TestErrorsAsJSON(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		hint string
	}{
		{[]string{"status", "--json"}, command.ExitFailed, "gate init"},
		{[]string{"expose", "--json", "0"}, command.ExitUsage, "expose --help"},
		{[]string{"expose", "--json", "--what"}, command.ExitUsage, "expose --help"},
		{[]string{"join", "--json", "GL1"}, command.ExitUsage, "copy the invite again"},
		{[]string{"what", "--json"}, command.ExitUsage, "--help"},
	} {
		var out, errOut bytes.Buffer
		code := Run(t.Context(), append([]string{"--root", t.TempDir()}, c.args...), strings.NewReader(""), &out, &errOut)
		e, err := problem.Parse(errOut.String())
		if err != nil {
			t.Errorf("%q: %v: %q", c.args, err, errOut.String())
			continue
		}
		if code != c.code || int(e.Kind) != c.code || !strings.Contains(e.Hint, c.hint) || out.Len() > 0 || strings.Count(errOut.String(), "\n") != 1 {
			t.Errorf("%q: exit code %d, %+v, prints %q", c.args, code, e, out.String())
		}
	}
}

// What a command prints for a program is JSON and nothing else.
func TestAnswersAsJSON(t *testing.T) {
	root := t.TempDir()
	put := func(text string) {
		t.Helper()
		a := &command.App{Root: root}
		if err := os.MkdirAll(a.Paths().Config(), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(a.Paths().ConfigFile(forward.Home), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("version = 1\n")
	for _, c := range []struct{ args, want string }{
		{"expose 443 --json", `{"name":"port-443","running":false}`},
		{"check --json", `{"file":"` + root + `/etc/gatelodge/home.toml","role":"home","forwards":1,"homes":0}`},
		{"unexpose port-443 --json", `{"removed":"port-443"}`},
	} {
		var out, errOut, compact bytes.Buffer
		code := Run(t.Context(), append([]string{"--root", root}, strings.Fields(c.args)...), strings.NewReader(""), &out, &errOut)
		if err := json.Compact(&compact, out.Bytes()); err != nil || code != command.ExitOK || strings.TrimSpace(compact.String()) != c.want {
			t.Errorf("%s: exit code %d, %v, %q, %q", c.args, code, err, out.String(), errOut.String())
		}
	}
}

// After an upgrade without a restart of the daemon, every command that asks it says
// what to do, and none takes its silence for a daemon that does not run.
func TestADaemonOfTheVersionBefore(t *testing.T) {
	for _, args := range [][]string{{"status"}, {"doctor"}, {"plan"}, {"apply"}, {"up"}, {"gate", "homes"}, {"gate", "revoke", "attic"}, {"confirm"}} {
		root := t.TempDir()
		a := &command.App{Root: root}
		file := a.Paths().ConfigFile("gate")
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte("version = 1\n"), 0o644)); err != nil {
			t.Fatal(err)
		}
		commandtest.ServeSocket(t, a.Paths().Socket(), http.NotFoundHandler()) // as to what it does not know
		var out, errOut bytes.Buffer
		code := Run(t.Context(), append([]string{"--root", root}, args...), strings.NewReader(""), &out, &errOut)
		if code != command.ExitFailed || out.Len() > 0 || !strings.Contains(errOut.String(), "another version") || !strings.Contains(errOut.String(), "systemctl restart gatelodge") {
			t.Errorf("%v: code %d, said %q and %q", args, code, out.String(), errOut.String())
		}
	}
}

// The daemon alone takes SIGHUP for the wish to read its file again.
func TestTheDaemonsCommandLine(t *testing.T) {
	for line, want := range map[string]bool{
		"run": true, "--root /x run": true, "--root=/x run": true, "expose --name run": false, "gate invite run": false, "--root run expose 1": false, "": false,
	} {
		if got := isRun(strings.Fields(line)); got != want {
			t.Errorf("%q: %t", line, got)
		}
	}
}
