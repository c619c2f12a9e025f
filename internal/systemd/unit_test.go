package systemd

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// machine is a machine whose systemctl and journalctl do what a test says, and
// write down what they were asked.
type machine struct {
	*Unit
	asked string // file
}

func newMachine(t *testing.T, systemctl, journalctl string) machine {
	t.Helper()
	dir := t.TempDir()
	m := machine{Unit: NewUnit("gatelodge.service"), asked: filepath.Join(dir, "asked")}
	m.systemctl, m.journalctl = filepath.Join(dir, "systemctl"), filepath.Join(dir, "journalctl")
	for path, script := range map[string]string{m.systemctl: systemctl, m.journalctl: journalctl} {
		text := "#!/bin/sh\necho \"$@\" >>" + m.asked + "\n" + script + "\n"
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// states answers `systemctl show` with these lines, and fails at the verb.
func states(failing, said string, lines ...string) string {
	return `case "$*" in
*` + failing + `*) echo "` + said + `" >&2; exit 1 ;;
*show*) echo "` + strings.Join(lines, "\n") + `" ;;
esac`
}

func TestTheStateOfAUnit(t *testing.T) {
	for _, c := range []struct {
		lines                      []string
		installed, active, enabled bool
	}{
		{[]string{"LoadState=not-found", "ActiveState=inactive", "UnitFileState="}, false, false, false},
		{[]string{"LoadState=loaded", "ActiveState=active", "UnitFileState=enabled"}, true, true, true},
		{[]string{"LoadState=loaded", "ActiveState=activating", "SubState=auto-restart", "UnitFileState=enabled-runtime"}, true, true, true},
		{[]string{"LoadState=masked", "ActiveState=inactive", "UnitFileState=masked"}, true, false, false},
		{[]string{"LoadState=loaded", "ActiveState=failed", "UnitFileState=disabled"}, true, false, false},
	} {
		m := newMachine(t, states("never", "", c.lines...), "")
		installed, err1 := m.Installed(t.Context())
		active, err2 := m.Active(t.Context())
		enabled, err3 := m.Enabled(t.Context())
		if err := errors.Join(err1, err2, err3); err != nil || installed != c.installed || active != c.active || enabled != c.enabled {
			t.Errorf("%v: installed %v, active %v, enabled %v, %v", c.lines, installed, active, enabled, err)
		}
	}
	m := newMachine(t, "", "")
	if _, err := m.State(t.Context()); err == nil {
		t.Error("a systemctl that says nothing is believed")
	}
	m.systemctl = filepath.Join(t.TempDir(), "none")
	if _, err := m.Installed(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without systemctl: %v", err)
	}
}

func TestWhatSystemctlIsAsked(t *testing.T) {
	m := newMachine(t, states("never", "", "LoadState=loaded", "ActiveState=active"), "")
	for _, do := range []func(context.Context) error{m.Enable, m.Disable, m.Start, m.Restart, m.Stop, m.DaemonReload} {
		if err := do(t.Context()); err != nil {
			t.Error(err)
		}
	}
	asked, err := os.ReadFile(m.asked)
	if err != nil {
		t.Fatal(err)
	}
	var verbs []string
	for line := range strings.Lines(string(asked)) {
		if verb := strings.TrimSpace(strings.TrimPrefix(line, "--no-ask-password --no-pager ")); !strings.HasPrefix(verb, "show ") {
			verbs = append(verbs, verb)
		}
	}
	want := "enable gatelodge.service, disable gatelodge.service, start gatelodge.service, restart gatelodge.service, stop gatelodge.service, daemon-reload"
	if got := strings.Join(verbs, ", "); got != want {
		t.Errorf("asked for %s", got)
	}
}

// A unit that does not start says why: not that a job has failed.
func TestWhyAUnitDoesNotStart(t *testing.T) {
	job := "Job for gatelodge.service failed because the control process exited with error code."
	for name, c := range map[string]struct {
		systemctl, journalctl, says string
	}{
		"it was not tried": {
			states("restart", "Failed to restart gatelodge.service: Unit gatelodge.service is masked.", "LoadState=masked", "StatusText=old"),
			"echo old", "is masked",
		},
		"its status":       {states("restart", job, "LoadState=loaded", "StatusText=nft is missing"), "echo starting", "nft is missing"},
		"its last line":    {states("restart", job, "LoadState=loaded"), "echo starting; echo 'panic: no'", "panic: no"},
		"no journal":       {states("restart", job, "LoadState=loaded"), "exit 1", job},
		"it was skipped":   {states("never", "", "LoadState=loaded", "ActiveState=inactive"), "", "conditions are not met"},
		"systemd is hurt":  {"exit 1", "", "exit status 1"},
		"somebody else's ": {states("restart", "Interactive authentication required.", "LoadState=loaded"), "", "authentication"},
	} {
		m := newMachine(t, c.systemctl, c.journalctl)
		err := m.Restart(t.Context())
		_, ok := errors.AsType[*StartError](err)
		if !ok || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, wanted %q in it", name, err, c.says)
		}
	}
}

// A start that takes too long is no failure of the unit.
func TestAStartThatGoesOn(t *testing.T) {
	m := newMachine(t, "exec sleep 60", "")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := m.Start(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.As(err, new(*StartError)) {
		t.Errorf("error %v", err)
	}
}
