package supervise

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatelodge/gatelodge/internal/event"
)

func TestALoopTriesForEverWithGrowingPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var at []time.Duration
		start := time.Now()
		l := NewLoop("work", time.Hour, event.Log{To: slog.New(slog.NewTextHandler(&log, nil))}, func(context.Context) error {
			at = append(at, time.Since(start))
			return errors.New("not yet")
		})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		if err := l.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the loop ended with %v", err)
		}
		for i := 1; i < len(at); i++ {
			if pause := at[i] - at[i-1]; pause > longPause {
				t.Errorf("pause %d is %s", i, pause)
			}
		}
		if len(at) < 20 {
			t.Errorf("only %d tries in ten minutes", len(at))
		}
		if n := strings.Count(log.String(), "not yet"); n != 1 {
			t.Errorf("the same error was logged %d times", n)
		}
	})
}

func TestALoopComesRoundWhenKicked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rounds atomic.Int64
		l := NewLoop("work", time.Hour, event.Log{To: slog.New(slog.DiscardHandler)}, func(context.Context) error { rounds.Add(1); return nil })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx) }()
		synctest.Wait()
		l.Kick()
		synctest.Wait()
		if n := rounds.Load(); n != 2 {
			t.Errorf("%d rounds after the first and a kick", n)
		}
		time.Sleep(time.Hour + time.Second) // of the bubble's clock
		synctest.Wait()
		if n := rounds.Load(); n != 3 {
			t.Errorf("%d rounds after another hour", n)
		}
		cancel()
		<-done
	})
}

// What fails may nudge itself: it changes the network when it undoes
// things, and the network is watched.
func TestALoopThatFailsIsNotHurriedByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rounds atomic.Int64
		var l *Loop
		l = NewLoop("work", time.Hour, event.Log{To: slog.New(slog.DiscardHandler)}, func(context.Context) error {
			rounds.Add(1)
			l.Nudge()
			time.AfterFunc(100*time.Millisecond, l.Nudge)
			return errors.New("no")
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		before := rounds.Load()
		if before > 10 {
			t.Errorf("%d rounds in a minute", before)
		}
		l.Nudge() // now it is somebody else
		synctest.Wait()
		if rounds.Load() != before+1 {
			t.Error("a change of the network is not heard between two rounds")
		}
		cancel()
		<-done
	})
}

// Each notification nudges; that they end is an error, to begin again.
func TestEventsNudge(t *testing.T) {
	events := make(chan struct{}, 3)
	for range 3 {
		events <- struct{}{}
	}
	close(events)
	nudges := 0
	if err := nudgeOn(t.Context(), events, func() { nudges++ }); err == nil || nudges != 3 {
		t.Errorf("%d nudges, %v", nudges, err)
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if err := nudgeOn(stopped, make(chan struct{}), func() {}); !errors.Is(err, context.Canceled) {
		t.Errorf("told to stop: %v", err)
	}
}
