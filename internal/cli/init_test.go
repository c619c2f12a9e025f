package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/remote"
	"github.com/gatelodge/gatelodge/internal/status"
	"github.com/gatelodge/gatelodge/internal/survey"
)

func TestAHostNameMakesAName(t *testing.T) {
	for machine, want := range map[string]string{
		"attic": "attic", "Attic.example.org": "attic", "my_server": "my-server", "-x-": "x", "": "home", "日本": "home",
		strings.Repeat("long", 20): strings.Repeat("long", 8), "a-" + strings.Repeat("b", 29) + "-c": "a-" + strings.Repeat("b", 29),
	} {
		got := nameFrom(machine)
		if got != want {
			t.Errorf("%q makes %q, not %q", machine, got, want)
		}
		if err := forward.CheckName(got); err != nil {
			t.Error(err)
		}
	}
}

func TestTheLastHopIsNamed(t *testing.T) {
	for _, c := range []struct {
		sentOn  uint64
		visited bool
		hop     string
	}{{0, false, "never came as far as the gate"}, {3, false, "sent it on"}, {3, true, "on its way back"}} {
		if hop, hint := lostHop(c.sentOn, c.visited); !strings.Contains(hop, c.hop) || hint == "" {
			t.Errorf("%+v: %q, hint %q", c, hop, hint)
		}
	}
}

// What gatelodge says on the VPS is passed on as what it is.
func TestTheOtherSidesWordsArePassedOn(t *testing.T) {
	err := explainThere(&remote.ExitError{Status: 1, Said: "motd\ngatelodge: error: no room\ngatelodge: hint: make some\n"})
	code, hint := classify(err)
	if err.Error() != "on the VPS: no room" || hint != "on the VPS: make some" || code != exitFailed {
		t.Errorf("%v, hint %q, code %d", err, hint, code)
	}
	if err := explainThere(&remote.ExitError{Status: 127, Said: "sh: not found"}); err.Error() != "on the VPS: sh: not found" {
		t.Error(err)
	}
	if explainThere(nil) != nil {
		t.Error("an error out of nothing")
	}
}

func TestAllRefusalsAreShown(t *testing.T) {
	err := refused("this VPS cannot be a gate: ", []survey.Refusal{{Why: "it is old", Hint: "upgrade"}, {Why: "it is full", Hint: "make room"}})
	_, hint := classify(err)
	if strings.Count(err.Error(), "this VPS cannot be a gate: ") != 2 || hint != "upgrade; make room" {
		t.Errorf("%v, hint %q", err, hint)
	}
	if refused("", nil) != nil {
		t.Error("a refusal out of nothing")
	}
}

// What was made last goes first, and what cannot be taken back is said beside
// why it was to be.
func TestTakeBack(t *testing.T) {
	var order []string
	s := &setup{app: &app{out: io.Discard, errOut: io.Discard}}
	for _, name := range []string{"first", "second", "third"} {
		s.onFailure(name, func(ctx context.Context) error {
			order = append(order, name)
			if name == "second" {
				return errors.New("it sticks")
			}
			return ctx.Err()
		})
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	err := s.takeBack(stopped, fail(exitUnreachable, "try", "no answer"))
	code, hint := classify(err)
	if strings.Join(order, " ") != "third second first" || code != exitUnreachable || hint != "try" {
		t.Errorf("order %q, code %d, hint %q", order, code, hint)
	}
	for _, want := range []string{"no answer", "by hand: second: it sticks"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

func TestFamilies(t *testing.T) {
	for _, c := range []struct {
		addrs     string
		four, six bool
	}{
		{"192.168.1.10", true, false}, {"192.168.1.10 fd00::2", true, false}, {"192.168.1.10 fe80::2", true, false},
		{"2001:db8::2", false, true}, {"10.0.0.2 2001:db8::2", true, true}, {"", false, false},
	} {
		var addrs []netip.Addr
		for a := range strings.FieldsSeq(c.addrs) {
			addrs = append(addrs, netip.MustParseAddr(a))
		}
		if four, six := families(addrs); four != c.four || six != c.six {
			t.Errorf("%s: IPv4 %t, IPv6 %t", c.addrs, four, six)
		}
	}
}

// The service of the proof answers nobody but the visitor that it expects.
func TestTheWitnessKnowsItsVisitor(t *testing.T) {
	w, err := listenForProof()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), w.port)
	stranger := &witness{word: "stranger"}
	if _, err := stranger.visit(t.Context(), at); err == nil || w.wasVisited() {
		t.Errorf("a stranger is answered: %v", err)
	}
	seen, err := w.visit(t.Context(), at)
	if err != nil || seen != at.Addr() || !w.wasVisited() {
		t.Errorf("%v: seen as %s, visited %t", err, seen, w.wasVisited())
	}
}

// put makes empty files below a folder.
func put(t *testing.T, root string, names ...string) {
	t.Helper()
	for _, name := range names {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Keys without a role are somebody's: nothing is begun that would remove them
// when it is taken back.
func TestKeysWithoutARoleAreRefused(t *testing.T) {
	for _, name := range []string{"home.json", "home.json.last", "gate.json", "gate.json.last"} {
		a := &app{root: t.TempDir()}
		put(t, a.root, "var/lib/gatelodge/gatelodge.log")
		if err := a.unjoined(); err != nil {
			t.Errorf("without keys: %v", err)
		}
		put(t, a.root, "var/lib/gatelodge/"+name)
		err := a.unjoined()
		role, _, _ := strings.Cut(name, ".")
		if err == nil || !strings.Contains(err.Error(), "still has the keys of a "+role) {
			t.Fatalf("with %s: %v", name, err)
		}
		if _, hint := classify(err); !strings.Contains(hint, role+".toml back") {
			t.Errorf("with %s: the hint is %q", name, hint)
		}
		s := &setup{app: a}
		if err := s.makeHome(t.Context()); err == nil || len(s.undo) > 0 {
			t.Errorf("with %s: %v, to be taken back: %v", name, err, s.undo)
		}
	}
}

// Only what is all of this run's making is purged when it is taken back.
func TestWhatOthersLeftIsNotPurged(t *testing.T) {
	root := t.TempDir()
	folders := []string{filepath.Join(root, "etc/gatelodge"), filepath.Join(root, "var/lib/gatelodge")}
	for _, step := range []struct {
		name  string
		empty bool
	}{{"etc/gatelodge/installed.json", true}, {"var/lib/gatelodge/notes", false}} {
		put(t, root, step.name)
		if empty, err := emptyFolders(folders...); err != nil || empty != step.empty {
			t.Errorf("with %s: %v, empty: %t", step.name, err, empty)
		}
	}
	for _, c := range []struct {
		found survey.Facts
		init  bool
		want  bool
	}{
		{survey.Facts{}, true, true},
		{survey.Facts{}, false, false},
		{survey.Facts{Kept: []string{"/etc/gatelodge"}}, true, false},
		{survey.Facts{Program: "/usr/bin/gatelodge"}, true, false},
	} {
		s := &setup{found: c.found, verdict: survey.Verdict{Init: c.init}}
		if got := s.purges(); got != c.want {
			t.Errorf("%+v, a gate to be made: %t: purges %t", c.found, c.init, got)
		}
	}
}

// What down needs stays until down has done its work.
func TestAGateThatIsNotDownIsNotUnmade(t *testing.T) {
	for _, status := range []int{0, 4} {
		root := t.TempDir()
		program := filepath.Join(root, "program")
		script := fmt.Sprintf("#!/bin/sh\necho \"$@\" >>%s/calls\nexit %d\n", root, status)
		if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		put(t, root, "etc/gatelodge/gate.toml", "var/lib/gatelodge/gate.json", "var/lib/gatelodge/gate.json.last")
		unmake := func() int {
			c := exec.Command("sh", "-c", unmakeGate, "sh", program, root)
			if err := c.Run(); err != nil && c.ProcessState == nil {
				t.Fatal(err)
			}
			return c.ProcessState.ExitCode()
		}
		if got := unmake(); got != status {
			t.Errorf("down ends with %d, the script with %d", status, got)
		}
		for _, name := range []string{"etc/gatelodge/gate.toml", "var/lib/gatelodge/gate.json", "var/lib/gatelodge/gate.json.last"} {
			_, err := os.Lstat(filepath.Join(root, name))
			if gone := errors.Is(err, fs.ErrNotExist); gone != (status == 0) {
				t.Errorf("down ends with %d: %s is gone: %t", status, name, gone)
			}
		}
		if status != 0 {
			continue
		}
		if got := unmake(); got != 0 {
			t.Errorf("a gate that never was: exit status %d", got)
		}
		calls, err := os.ReadFile(filepath.Join(root, "calls"))
		if want := "--root " + root + "/ down\n"; err != nil || string(calls) != want {
			t.Errorf("%v: called %q, wanted %q", err, calls, want)
		}
	}
}

// The question for a password is in the owner's words and ours alone.
func TestAPasswordIsAskedForInOurWords(t *testing.T) {
	s := &setup{o: initOptions{destination: "debian@vps.example"}}
	const want = "Password for sudo on the VPS debian@vps.example (not for this machine): "
	if got := s.passwordPrompt(); got != want {
		t.Errorf("%q, not %q", got, want)
	}
}

// Whatever words have come into an error, it is lines of ours.
func TestErrorsAreShownPrintable(t *testing.T) {
	var out bytes.Buffer
	report(&out, fail(exitFailed, "try\x1b[2J\n[sudo] password:", "no\tsuch file: \u202e\r\x1b[8m\nsecond line\x9b"))
	want := "gatelodge: error: no such file: \ufffd\ufffd\ufffd[8m\ngatelodge: error: second line\ufffd\ngatelodge: hint: try\ufffd[2J\ufffd[sudo] password:\n"
	if out.String() != want {
		t.Errorf("%q, not %q", out.String(), want)
	}
}

func TestReadReport(t *testing.T) {
	r, err := readReport(`{"role":"gate","input":{"policy":"protect","state":"on trial"},"homes":[{"name":"attic","peer":{}}],"invites":[{"name":"cellar"}],` +
		`"forwards":[{"name":"init-proof","home":"cellar","in":{"packets":1}},{"name":"init-proof","home":"attic","in":{"packets":3}},{"name":"web","home":"attic"}]}`)
	if err != nil || !r.inState(status.OnTrial) || r.arrived("attic") != 3 || r.arrived("den") != 0 || len(r.Homes) != 1 || r.Homes[0].Name != "attic" || r.Invites[0].Name != "cellar" {
		t.Errorf("%v, %+v", err, r)
	}
	for _, text := range []string{"", "motd", `{"homes":3}`, `{"forwards":[` + strings.Repeat("{},", 1<<20) + "{}]}", `{"forwards":[` + strings.Repeat("null,", 1<<19) + "null]}"} {
		if _, err := readReport(text); err == nil || len(err.Error()) > 300 {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}
