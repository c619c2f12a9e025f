package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// stoppedBy returns a context that a signal has ended.
func stoppedBy(s syscall.Signal) context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(&StoppedError{s})
	return ctx
}

// What was stopped says what is in force, in one line, with the exit code of a shell.
func TestWhatIsSaidOfAStop(t *testing.T) {
	ctx := stoppedBy(syscall.SIGINT)
	cause := context.Cause(ctx)
	for _, c := range []struct {
		err  error
		want string
		code int
	}{
		{cause, "gatelodge: stopped; nothing was changed\n", 130},
		{fmt.Errorf("cannot reach the daemon: %w", cause), "gatelodge: stopped; nothing was changed\n", 130},
		{fmt.Errorf("x: %w", context.Canceled), "gatelodge: stopped; nothing was changed\n", 130},
		{errors.Join(cause, errors.New("home.toml could not be restored: disk full")), "gatelodge: error: stopped; nothing was changed\ngatelodge: error: home.toml could not be restored: disk full\n", 130},
		{Stopped(ctx, cause, "80/tcp is not published"), "gatelodge: stopped; 80/tcp is not published\n", 130},
	} {
		var said bytes.Buffer
		if code := Report(&said, Stopped(ctx, c.err, "nothing was changed"), false); code != c.code || said.String() != c.want {
			t.Errorf("%v: exit code %d, %q", c.err, code, &said)
		}
	}
	var said bytes.Buffer
	if code := Report(&said, Stopped(stoppedBy(syscall.SIGHUP), context.Canceled, "x"), true); code != 129 || said.String() != `{"error":{"message":"stopped; x","code":129}}`+"\n" {
		t.Errorf("exit code %d, %q", code, &said)
	}
	if err := Stopped(t.Context(), errors.New("odd"), "x"); err.Error() != "odd" {
		t.Error(err)
	}
	if err := Stopped(ctx, nil, "x"); err != nil {
		t.Error(err)
	}
}

// safeBuffer is read while it is written.
type safeBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// The first signal ends the context; those after it are answered, and end nothing.
func TestOnlyTheFirstSignalStops(t *testing.T) {
	var said safeBuffer
	ctx, release := UntilStopped(&said, syscall.SIGUSR1) // no SIGHUP: nohup(1) may have it ignored
	defer release()
	kill := func() {
		t.Helper()
		if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
	}
	kill()
	select {
	case <-ctx.Done():
	case <-time.After(30 * time.Second):
		t.Fatal("it goes on")
	}
	if stop, ok := errors.AsType[*StoppedError](context.Cause(ctx)); !ok || stop.Signal != syscall.SIGUSR1 {
		t.Errorf("it ended by %v", context.Cause(ctx))
	}
	kill()
	for end := time.Now().Add(30 * time.Second); !strings.Contains(said.String(), "stopping; what was begun"); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the second is not answered")
		}
	}
}
