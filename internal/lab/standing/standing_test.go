package standing

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatelodge/gatelodge/internal/lab/netns"
	"github.com/gatelodge/gatelodge/internal/lab/netns/netnstest"
)

func TestMain(m *testing.M) { netnstest.Main(m) }

// standingProcess is a process that a test may kill.
func standingProcess(t *testing.T) (*exec.Cmd, Process) {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	p, err := NewProcess(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return cmd, p
}

func TestStandingIsWrittenDownAndTakenDown(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	place, err := FindPlace()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := place.Load(); !errors.Is(err, ErrNone) {
		t.Errorf("in an empty place: %v", err)
	}
	release, err := place.Lock()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	cmd, p := standingProcess(t)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if err := place.Save(Lab{Supervisor: p, Inside: p, Log: "x"}); err != nil {
		t.Fatal(err)
	}
	s, err := place.Load()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Down(t.Context()); err != nil {
		t.Error(err)
	}
	<-ended
	if _, err := place.Load(); !errors.Is(err, ErrNone) {
		t.Errorf("after Down: %v", err)
	}
	if err := place.Remove(); err != nil {
		t.Error(err)
	}
}

func TestPlaceHasOneLock(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	place, err := FindPlace()
	if err != nil {
		t.Fatal(err)
	}
	release, err := place.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := place.Lock(); !errors.Is(err, ErrBusy) {
		t.Errorf("a second lock: %v", err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if release, err = place.Lock(); err != nil {
		t.Fatal(err)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
}

func TestPlaceOfOthersIsRefused(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", dir)
	place := filepath.Join(dir, "gatelodge-lab")
	if err := os.Mkdir(place, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := FindPlace(); err == nil {
		t.Error("a folder that others can read was taken")
	}
	if err := os.Remove(place); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(t.TempDir(), place); err != nil {
		t.Fatal(err)
	}
	if _, err := FindPlace(); err == nil {
		t.Error("a symbolic link was followed")
	}
}

func TestProcessIsNotMistakenForALaterOne(t *testing.T) {
	_, p := standingProcess(t)
	if !p.Alive() {
		t.Error("a running process is not alive")
	}
	p.Start += "0"
	if p.Alive() {
		t.Error("a process that started at another time is taken for the same")
	}
}

func TestInsideKnowsItsNumberOutside(t *testing.T) {
	if netns.OutsidePID() <= 1 {
		t.Errorf("the first process has number %d outside", netns.OutsidePID())
	}
}

func TestText(t *testing.T) {
	l := Lab{
		Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local), Supervisor: Process{PID: 42}, Log: "/run/gatelodge-lab/log",
		Hosts: []Host{{Name: "visitor", Addresses: "203.0.113.10 2001:db8:c::10"}, {Name: "gate", Addresses: "198.51.100.1 2001:db8:a::1", Daemon: true}},
	}
	want, err := os.ReadFile("testdata/standing.golden")
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	if err := l.WriteText(&got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("it differs (-want +got):\n%s", diff)
	}
}
