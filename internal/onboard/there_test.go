package onboard

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/problem"
	"github.com/gatelodge/gatelodge/internal/remote"
)

// A VPS on this machine: an ssh that carries commands out here, as root.
const sshHere = `#!/bin/sh
for word; do [ "$word" != -O ] || exit 0; done
for word; do :; done
exec sh -c "$word"
`

const rootHere = `#!/bin/sh
case $1 in -u) echo 0 ;; *) echo root ;; esac
`

// onVPS returns a run whose VPS has a program of that text for gatelodge, and the
// file in which it notes how it was called.
func onVPS(t *testing.T, program string) (s *setup, calls string) {
	t.Helper()
	bin, root := t.TempDir(), t.TempDir()
	at := filepath.Join(root, "usr/bin/gatelodge")
	calls = filepath.Join(root, "calls")
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		t.Fatal(err)
	}
	program = "#!/bin/sh\nshift 2; echo \"$@\" >>" + calls + "\n" + program
	for file, text := range map[string]string{filepath.Join(bin, "ssh"): sshHere, filepath.Join(bin, "id"): rootHere, at: program} {
		if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	conn, err := remote.Connect(t.Context(), remote.Options{Destination: "root@vps", Terminal: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return &setup{
		o: Options{Name: "attic"}, progress: &told{},
		vps: vps{conn: conn, root: root, program: "/usr/bin/gatelodge"},
	}, calls
}

// A gatelodge of the version before knows --json only where it gives an answer.
const before = `case "$*" in
	*revoke*--json* | *up*--json*) echo "gatelodge: error: unknown flag: --json" >&2; exit 2 ;;
	*revoke*) echo "attic is revoked" ;;
	*up) echo "gatelodge: error: no room" >&2; exit 1 ;;
	*invite*--json) echo '{"name":"attic","invite":"GL1-OLD","expires":"2026-01-01T00:00:00Z"}' ;;
	*status*--json) echo '{"homes":[{"name":"cellar"}],"invites":[{"name":"attic"}]}' ;;
	*) exit 1 ;;
esac
`

func TestAVersionBeforeIsUnderstood(t *testing.T) {
	s, calls := onVPS(t, before)
	if err := (gateSteps{s}).clearName(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := (gateSteps{s}).getInvite(t.Context()); err != nil || s.invite != "GL1-OLD" {
		t.Errorf("%v, invite %q", err, s.invite)
	}
	_, err := s.vps.gatelodge(t.Context(), "up")
	if err == nil || err.Error() != "on the VPS: gatelodge: error: no room" {
		t.Errorf("its error is told as %v", err)
	}
	text, err := os.ReadFile(calls)
	const want = "status --json, gate revoke attic --json, gate revoke attic, gate invite attic --for 1h --json, up --json, up"
	if got := strings.Join(strings.Split(strings.TrimSpace(string(text)), "\n"), ", "); err != nil || got != want {
		t.Errorf("%v: called %q, wanted %q", err, got, want)
	}
}

// Why the gate's status cannot be had are three things: its daemon does not run,
// which a later step changes; the caller may not; and all else.
func TestAGateThatDoesNotAnswerIsToldApart(t *testing.T) {
	for name, c := range map[string]struct {
		program string
		wants   string // "": goes on
	}{
		"not running":           {`echo '{"error":{"message":"the daemon is not running","hint":"gatelodge up","code":5}}' >&2; exit 5`, ""},
		"not running, and why":  {`echo '{"running":false}'; exit 5`, ""},
		"a home is silent":      {`echo '{"running":true,"homes":[{"name":"cellar"}]}'; exit 1`, ""},
		"nothing is well there": {`echo '{"running":true,"homes":[{"name":"attic"}]}'; exit 5`, "already has a home with the name attic"},
		"not running, before":   {`echo "gatelodge: error: the daemon is not running" >&2; exit 5`, ""},
		"no right":              {`echo '{"error":{"message":"cannot reach the daemon: permission denied","hint":"run it as root","code":4}}' >&2; exit 4`, "permission denied"},
		"a file that is wrong":  {`echo '{"error":{"message":"gate.toml:3: bad","code":1}}' >&2; exit 1`, "gate.toml:3: bad"},
		"a program that breaks": {`kill -9 $$`, "cannot ask the gate"},
		"no report":             {`echo motd`, "cannot read the gate's status"},
		"the name is had":       {`echo '{"homes":[{"name":"attic"}]}'`, "already has a home with the name attic"},
		"the name is free":      {`echo '{"homes":[{"name":"cellar"}]}'`, ""},
	} {
		s, _ := onVPS(t, c.program)
		err := s.checkHomes(t.Context())
		if c.wants == "" && err != nil || c.wants != "" && (err == nil || !strings.Contains(err.Error(), c.wants)) {
			t.Errorf("%s: %v", name, err)
		}
		if p, ok := errors.AsType[*problem.Error](err); ok && p.Kind != problem.Failed {
			t.Errorf("%s: exit code %d", name, p.Kind)
		}
	}
}

// An invite is a secret, also where the VPS does not write it as it should.
func TestAnInviteIsNotShown(t *testing.T) {
	for _, program := range []string{"echo GL1-SECRET", `echo '{"invite":7,"x":"GL1-SECRET"}'`} {
		s, _ := onVPS(t, program)
		if err := (gateSteps{s}).getInvite(t.Context()); err == nil || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%v", err)
		}
	}
}

// An invite that was refused is not revoked: what has its name may be a home.
func TestARefusedInviteIsNotRevoked(t *testing.T) {
	s, calls := onVPS(t, `case "$*" in *status*) echo '{}' ;; *) echo '{"error":{"message":"attic is a home","code":1}}' >&2; exit 1 ;; esac`)
	err := run(t.Context(), []step{{name: "invite", parts: (gateSteps{s}).makeInvite}}, s.progress)
	text, readErr := os.ReadFile(calls)
	if err == nil || readErr != nil || strings.Contains(string(text), "revoke") {
		t.Errorf("%v, %v, called %q", err, readErr, text)
	}
}
