package onboard

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/instance"
	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/problem"
	"github.com/gatelodge/gatelodge/internal/remote"
	"github.com/gatelodge/gatelodge/internal/status"
	"github.com/gatelodge/gatelodge/internal/survey"
)

func TestAHostNameMakesAName(t *testing.T) {
	for machine, want := range map[string]string{
		"attic": "attic", "Attic.example.org": "attic", "my_server": "my-server", "-x-": "x", "": "home", "日本": "home",
		strings.Repeat("long", 20): strings.Repeat("long", 8), "a-" + strings.Repeat("b", 29) + "-c": "a-" + strings.Repeat("b", 29),
	} {
		got := NameFrom(machine)
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
	}{{0, false, "never reached the gate"}, {3, false, "sent it on"}, {3, true, "on its way back"}} {
		if hop, hint := lostHop(c.sentOn, c.visited); !strings.Contains(hop, c.hop) || hint == "" {
			t.Errorf("%+v: %q, hint %q", c, hop, hint)
		}
	}
}

// hintOf returns the hint of an error.
func hintOf(err error) string {
	if p, ok := errors.AsType[*problem.Error](err); ok {
		return p.Hint
	}
	return ""
}

// What gatelodge says on the VPS is passed on as what it is: from its JSON, and
// of a version that has none there, as it stands.
func TestTheOtherSidesWordsArePassedOn(t *testing.T) {
	for _, c := range []struct {
		status     int
		said       string
		text, hint string
		notRunning bool
	}{
		{1, "motd\n" + `{"error":{"message":"no room","hint":"make some","code":1}}` + "\n", "on the VPS: no room", "on the VPS: make some", false},
		{5, `{"error":{"message":"the daemon is not running","hint":"gatelodge up","code":5}}`, "on the VPS: the daemon is not running", "on the VPS: gatelodge up", true},
		{5, "gatelodge: error: the daemon is not running\n", "on the VPS: gatelodge: error: the daemon is not running", "", true},
		{1, `{"error":{"message":"this machine has no nft","hint":"run it on this machine","code":1}}`, "on the VPS: the VPS has no nft", "on the VPS: run it on the VPS", false},
		{4, "gatelodge: error: permission denied", "on the VPS: gatelodge: error: permission denied", "", false},
		{127, "sh: not found", "on the VPS: sh: not found", "", false},
		{137, "", "on the VPS: exit status 137 on the VPS, and no message", "", false},
	} {
		err := explainThere(&remote.ExitError{Status: c.status, Said: c.said})
		p, ok := errors.AsType[*problem.Error](err)
		if !ok || err.Error() != c.text || p.Hint != c.hint || p.Kind != problem.Failed || notRunning(err) != c.notRunning {
			t.Errorf("%+v: %v, %+v", c, err, p)
		}
	}
	if lost := errors.New("the connection is lost"); explainThere(lost) != lost || notRunning(lost) || explainThere(nil) != nil {
		t.Error("an error of ssh is taken for one of gatelodge's")
	}
}

func TestAllRefusalsAreShown(t *testing.T) {
	err := Refused("this VPS cannot be a gate: ", []survey.Refusal{{Why: "it is old", Hint: "upgrade"}, {Why: "it is full", Hint: "make room"}})
	hint := hintOf(err)
	if strings.Count(err.Error(), "this VPS cannot be a gate: ") != 2 || hint != "upgrade; make room" {
		t.Errorf("%v, hint %q", err, hint)
	}
	if Refused("", nil) != nil {
		t.Error("a refusal out of nothing")
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
// when it is undone.
func TestKeysWithoutARoleAreRefused(t *testing.T) {
	for _, name := range []string{"home.json", "home.json.last", "gate.json", "gate.json.last"} {
		p := layout.Paths{Root: t.TempDir()}
		put(t, p.Root, "var/lib/gatelodge/gatelodge.log")
		if err := CheckFresh(p); err != nil {
			t.Errorf("without keys: %v", err)
		}
		put(t, p.Root, "var/lib/gatelodge/"+name)
		err := CheckFresh(p)
		role, _, _ := strings.Cut(name, ".")
		if err == nil || !strings.Contains(err.Error(), "still has the keys of a "+role) {
			t.Fatalf("with %s: %v", name, err)
		}
		if hint := hintOf(err); !strings.HasPrefix(hint, "restore ") || !strings.Contains(hint, role+".toml;") {
			t.Errorf("with %s: the hint is %q", name, hint)
		}
		s := &setup{here: Here{Instance: instance.Instance{Paths: p}}}
		if parts, err := (homeSteps{s}).makeHome(t.Context()); err == nil || len(parts) > 0 {
			t.Errorf("with %s: %v, to be done: %v", name, err, parts)
		}
	}
}

// Only what is all of this run's making is purged when it is undone.
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
		if got := (gateSteps{s}).purges(); got != c.want {
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
		if want := "--root " + root + "/ down --json\n"; err != nil || string(calls) != want {
			t.Errorf("%v: called %q, wanted %q", err, calls, want)
		}
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
