package supervise

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatelodge/gatelodge/internal/event"
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
	file := filepath.Join(t.TempDir(), "run", "failed-starts")
	log := slog.New(slog.DiscardHandler)
	starts := func() *Starts { return NewStarts(file, s, event.Log{To: log}, log) }
	if n := starts().count(); n != 1 {
		t.Errorf("without a folder the first failed start is number %d", n)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	for want := 1; want <= 3; want++ {
		if n := starts().count(); n != want {
			t.Errorf("failed start %d is number %d", want, n)
		}
	}
	starts().Succeeded()
	if n := starts().count(); n != 1 {
		t.Errorf("after one that succeeded it is number %d", n)
	}
	// A daemon that is told to stop does not wait.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 10 {
		starts().Failed(ctx, errors.New("no"))
	}
	// Outside of systemd nobody would start it again, so nobody waits.
	s = nil
	starts().Failed(t.Context(), errors.New("no"))
}
