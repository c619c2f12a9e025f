package lab

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestDaemonLife(t *testing.T) {
	l := newLab(t)
	home := l.Home()
	up := filepath.Join(home.Root(), "up")
	if err := home.Start(); err != nil {
		t.Fatal(err)
	}
	if err := home.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := home.Start(); err == nil {
		t.Error("a second daemon was started")
	}
	if err := home.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(up); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a stopped daemon did not tidy up: %v", err)
	}
	if err := home.Start(); err != nil {
		t.Fatal(err)
	}
	if err := home.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := home.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(up); err != nil {
		t.Errorf("a killed daemon tidied up: %v", err)
	}
	if home.PID() != 0 {
		t.Error("a killed daemon has a process number")
	}
	if got := strings.Count(home.Log(), "running\n"); got != 2 {
		t.Errorf("the log has %d starts, want 2:\n%s", got, home.Log())
	}
	if got := home.LogTail(1); len(got) != 1 || got[0] != "running" {
		t.Errorf("the log ends with %q", got)
	}
}

func TestReadySaysWhyTheDaemonEnded(t *testing.T) {
	l := newLab(t)
	home := l.Home()
	if err := os.RemoveAll(home.Root()); err != nil {
		t.Fatal(err)
	}
	if err := home.Start(); err != nil {
		t.Fatal(err)
	}
	err := home.Ready(t.Context())
	if err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("Ready says %v, not what the daemon said", err)
	}
}

func TestRefused(t *testing.T) {
	l := newLab(t)
	reason, err := l.Home().Refused(t.Context(), "6000/tcp")
	if err != nil {
		t.Fatal(err)
	}
	if want := "cannot expose 6000/tcp"; reason != want {
		t.Errorf("reason %q, want %q", reason, want)
	}
}

func TestUntil(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	never := errors.New("not yet")
	if err := Until(ctx, time.Microsecond, func() error { return never }); !errors.Is(err, never) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("until gave up with %v", err)
	}
	tries := 0
	err := Until(t.Context(), time.Microsecond, func() error {
		if tries++; tries < 3 {
			return never
		}
		return nil
	})
	if err != nil || tries != 3 {
		t.Errorf("until: %v after %d tries", err, tries)
	}
	if err := Until(t.Context(), time.Hour, func() error { return final(never) }); !errors.Is(err, never) {
		t.Errorf("a final error became %v", err)
	}
}
