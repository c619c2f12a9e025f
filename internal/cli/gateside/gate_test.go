package gateside

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path"
	"strings"
	"syscall"
	"testing"

	"github.com/gatelodge/gatelodge/internal/cli/command"
	"github.com/gatelodge/gatelodge/internal/cli/command/commandtest"
	"github.com/gatelodge/gatelodge/internal/config"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/local"
)

// newGateApp returns the commands on a gate, whose daemon answers as a test
// says: path by path, with a refusal where there is one.
func newGateApp(t *testing.T, refusals map[string]string) (*command.App, *[]string) {
	t.Helper()
	a := &command.App{Root: t.TempDir(), In: strings.NewReader(""), Out: io.Discard, ErrOut: io.Discard}
	if err := os.MkdirAll(a.Paths().Config(), 0o755); err != nil {
		t.Fatal(err)
	}
	file := "# mine\nversion = 1\n"
	if err := os.WriteFile(a.Paths().ConfigFile(forward.Gate), []byte(file), 0o644); err != nil {
		t.Fatal(err)
	}
	var asked []string
	answer := func(w http.ResponseWriter, r *http.Request) {
		text, err := os.ReadFile(a.Paths().ConfigFile(forward.Gate))
		if err != nil {
			t.Error(err)
		}
		what := "/" + path.Base(r.URL.Path)
		asked = append(asked, what+" "+policyOf(t, text))
		if why, refused := refusals[what]; refused {
			w.WriteHeader(http.StatusConflict)
			why = `{"error":"` + why + `"}`
			if _, err := io.WriteString(w, why); err != nil {
				t.Error(err)
			}
			return
		}
		if err := json.NewEncoder(w).Encode(local.InviteResponse{Name: "attic", Invite: "GL1"}); err != nil {
			t.Error(err)
		}
	}
	commandtest.ServeSocket(t, a.Paths().Socket(), http.HandlerFunc(answer))
	return a, &asked
}

// policyOf says what a gate.toml lets the home attic have of its own.
func policyOf(t *testing.T, gate []byte) string {
	t.Helper()
	g, err := config.ParseGate("gate.toml", gate)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(gate, []byte("attic")) {
		return g.PolicyOf("attic").Ports.String()
	}
	return "-"
}

// The daemon may only read gate.toml: the command edits it, before the invite
// is there, and reverts that where there is none.
func TestAnInviteWithPorts(t *testing.T) {
	for name, c := range map[string]struct {
		ports    []string
		refusals map[string]string
		asked    string
		err      string
		policy   string
	}{
		"no ports":        {nil, nil, "/invite -", "", "-"},
		"ports":           {[]string{"443/tcp"}, nil, "/apply 443/tcp, /invite 443/tcp", "", "443/tcp"},
		"no such port":    {[]string{"0"}, nil, "", "port 0", "-"},
		"the name is had": {[]string{"443/tcp"}, map[string]string{"/invite": "attic is a home already"}, "/apply 443/tcp, /invite 443/tcp, /apply -", "attic is a home already", "-"},
	} {
		a, asked := newGateApp(t, c.refusals)
		before, err := os.ReadFile(a.Paths().ConfigFile(forward.Gate))
		if err != nil {
			t.Fatal(err)
		}
		invite, err := makeInvite(t.Context(), a, local.InviteRequest{Name: "attic"}, c.ports)
		if c.err == "" && (err != nil || invite.Invite != "GL1") || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: %+v, %v", name, invite, err)
		}
		if got := strings.Join(*asked, ", "); got != c.asked {
			t.Errorf("%s: the daemon was asked %q, wanted %q", name, got, c.asked)
		}
		after, err := os.ReadFile(a.Paths().ConfigFile(forward.Gate))
		if err != nil {
			t.Fatal(err)
		}
		if got := policyOf(t, after); got != c.policy {
			t.Errorf("%s: gate.toml gives %q, wanted %q", name, got, c.policy)
		}
		if c.policy == "-" && !bytes.Equal(before, after) {
			t.Errorf("%s: gate.toml was %q and is %q", name, before, after)
		}
	}
}

// Without a daemon there is no invite, and no change of the file.
func TestAnInviteWithoutADaemon(t *testing.T) {
	a := &command.App{Root: t.TempDir(), In: strings.NewReader(""), Out: io.Discard, ErrOut: io.Discard}
	if err := a.Editor().Create(forward.Gate, []byte("version = 1\n")); err != nil {
		t.Fatal(err)
	}
	_, err := makeInvite(t.Context(), a, local.InviteRequest{Name: "attic"}, []string{"443/tcp"})
	if !errors.Is(err, local.ErrNotRunning) {
		t.Errorf("error %v", err)
	}
	if text, err := os.ReadFile(a.Paths().ConfigFile(forward.Gate)); err != nil || string(text) != "version = 1\n" {
		t.Errorf("gate.toml is %q, %v", text, err)
	}
}

// The daemon reads the file as a user of its own, whatever root's umask is.
func TestAnyUserCanReadTheConfiguration(t *testing.T) {
	before := syscall.Umask(0o077)
	defer syscall.Umask(before)
	a := &command.App{Root: t.TempDir(), In: strings.NewReader(""), Out: io.Discard, ErrOut: io.Discard}
	if err := a.Editor().Create(forward.Home, []byte("version = 1\n")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{a.Paths().Config(): 0o755, a.Paths().ConfigFile(forward.Home): 0o644} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, %v", path, info.Mode(), err)
		}
	}
}
