package daemon

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"testing"
	"time"
)

func TestFailedStartsAreSpacedOut(t *testing.T) {
	for n, want := range map[int]time.Duration{0: 0, 1: 0, 2: time.Second, 3: 2 * time.Second, 6: 16 * time.Second, 7: longestPause, 1000000: longestPause} {
		if got := pauseAfter(n); got != want {
			t.Errorf("after %d failed starts it waits %s, wanted %s", n, got, want)
		}
	}
}

func TestFailedStartsAreCountedUntilOneSucceeds(t *testing.T) {
	_, s := newManager(t, time.Minute)
	o := Options{Paths: Paths{Root: t.TempDir()}, Service: s, Log: slog.New(slog.DiscardHandler)}
	if n := newStarts(o).count(); n != 1 {
		t.Errorf("without a folder the first failed start is number %d", n)
	}
	if err := os.MkdirAll(o.Paths.Run(), 0o700); err != nil {
		t.Fatal(err)
	}
	for want := 1; want <= 3; want++ {
		if n := newStarts(o).count(); n != want {
			t.Errorf("failed start %d is number %d", want, n)
		}
	}
	newStarts(o).succeeded()
	if n := newStarts(o).count(); n != 1 {
		t.Errorf("after one that succeeded it is number %d", n)
	}
	// Whoever is told to stop does not wait.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 10 {
		newStarts(o).failed(ctx, errors.New("no"))
	}
	// Outside of systemd nobody would start it again, so nobody waits.
	o.Service = nil
	newStarts(o).failed(t.Context(), errors.New("no"))
}

// A daemon that cannot start says so to whoever called it.
func TestRunReturnsWhyItCannotStart(t *testing.T) {
	o := Options{Paths: Paths{Root: t.TempDir()}, Log: slog.New(slog.DiscardHandler)}
	if err := Run(t.Context(), o); !errors.Is(err, ErrNoRole) {
		t.Errorf("error %v", err)
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Run(stopped, o); !errors.Is(err, ErrNoRole) {
		t.Errorf("told to stop, it hides %v", err)
	}
}
