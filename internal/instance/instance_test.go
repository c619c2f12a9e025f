package instance

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/layout"
	"github.com/gatelodge/gatelodge/internal/problem"
	"github.com/gatelodge/gatelodge/internal/status"
)

// newInstance returns a home below a root of its own.
func newInstance(t *testing.T) Instance {
	t.Helper()
	i := Instance{Paths: layout.Paths{Root: t.TempDir()}, Note: func(string) {}}
	for _, folder := range []string{i.Paths.Config(), i.Paths.Run(), i.Paths.State()} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(i.Paths.ConfigFile(forward.Home), []byte("version = 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return i
}

// answer is a daemon that gives these reports, one after the other.
func answer(t *testing.T, i Instance, reports ...status.Report) *atomic.Int32 {
	t.Helper()
	return answerThen(t, i, func(int) {}, reports...)
}

// answerThen is answer, and says when it is asked.
func answerThen(t *testing.T, i Instance, when func(n int), reports ...status.Report) *atomic.Int32 {
	t.Helper()
	l, err := net.Listen("unix", i.Paths.Socket())
	if err != nil {
		t.Fatal(err)
	}
	asked := new(atomic.Int32)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := int(asked.Add(1))
		when(n)
		// Who has left does not wait for the answer.
		_ = json.NewEncoder(w).Encode(reports[min(n, len(reports))-1])
	})}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return asked
}

// An instance under a root of its own is no business of systemd's.
func TestOnlyTheMachinesOwnInstanceIsAService(t *testing.T) {
	i := newInstance(t)
	if unit, err := i.Unit(t.Context()); unit != nil || err != nil {
		t.Errorf("a unit %v, %v", unit, err)
	}
	if owner, err := i.Owner(t.Context()); owner != nil || err != nil {
		t.Errorf("owner %v, %v", owner, err)
	}
	if i.IsMachines() || !(Instance{Paths: layout.Paths{Root: "//"}}).IsMachines() {
		t.Error("the machine's own instance is not told from others")
	}
	if err := errors.Join(i.Enable(t.Context()), i.Disable(t.Context())); err != nil {
		t.Error(err)
	}
}

func TestADaemonThatRunsIsLeftAlone(t *testing.T) {
	i := newInstance(t)
	answer(t, i, status.Report{Role: "home", Running: true})
	if r, ran, err := i.Up(t.Context()); err != nil || !ran || r.Role != "home" {
		t.Errorf("%+v, ran %t, %v", r, ran, err)
	}
}

func TestUpNeedsARole(t *testing.T) {
	i := Instance{Paths: layout.Paths{Root: t.TempDir()}}
	if _, _, err := i.Up(t.Context()); !errors.Is(err, layout.ErrNoRole) {
		t.Error(err)
	}
}

// A tunnel that comes up later is waited for; a daemon that ends is told of by the
// last line of its log.
func TestAwaitUp(t *testing.T) {
	i := newInstance(t)
	up := status.Report{Running: true}
	up.Role, up.Tunnel.Up = "gate", true
	asked := answer(t, i, status.Report{Running: true}, status.Report{Running: true}, up)
	if r, err := i.AwaitUp(t.Context()); err != nil || !r.Tunnel.Up || asked.Load() != 3 {
		t.Errorf("%+v, %v, asked %d times", r, err, asked.Load())
	}

	i = newInstance(t)
	if err := os.WriteFile(i.Paths.Log(), []byte("one\ngate.toml is wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	exited <- errors.New("exit status 1")
	_, err := i.awaitUp(t.Context(), exited, "see the log")
	p, ok := errors.AsType[*problem.Error](err)
	if !ok || p.Hint != "see the log" || !strings.Contains(err.Error(), "exit status 1") || !strings.Contains(err.Error(), "gate.toml is wrong") {
		t.Errorf("%v, %+v", err, p)
	}
}

// A tunnel that is not up in time is no error of a daemon that answers; without
// any there is one.
func TestATunnelThatDoesNotComeUpInTime(t *testing.T) {
	i := newInstance(t)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := i.AwaitUp(ctx); err == nil {
		t.Error("a daemon that does not answer has started")
	}
	ctx, stop = context.WithCancel(t.Context())
	defer stop()
	answerThen(t, i, func(n int) {
		if n == 2 { // by then the first answer is there
			stop()
		}
	}, status.Report{Running: true, Role: "home"})
	if r, err := i.AwaitUp(ctx); err != nil || r.Role != "home" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestStopWithoutADaemon(t *testing.T) {
	if comesBack, err := newInstance(t).Stop(t.Context()); comesBack || err != nil {
		t.Errorf("comes back %t, %v", comesBack, err)
	}
}

// What a daemon says of its end is told, and not what is left of an earlier one.
func TestWhyADaemonHasEnded(t *testing.T) {
	i := newInstance(t)
	if i.failure() != nil || i.forgetFailure() != nil {
		t.Error("a failure out of nothing")
	}
	why := &problem.Error{Err: errors.New("gate.toml:3:1: no key"), Hint: "gatelodge check", Kind: problem.Failed}
	if err := i.NoteFailure(why); err != nil {
		t.Fatal(err)
	}
	if got := i.failure(); got == nil || got.Error() != why.Error() || got.Hint != why.Hint || i.lastWords() != why.Error() {
		t.Errorf("%+v, last words %q", got, i.lastWords())
	}
	if err := i.forgetFailure(); err != nil || i.failure() != nil {
		t.Errorf("it is still there: %v", err)
	}
	// The folder is the daemon's: what it puts there is nobody else's.
	secret := i.Paths.Log()
	if err := os.WriteFile(secret, []byte(`{"error":{"message":"secret","code":1}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, i.failureFile()); err != nil {
		t.Fatal(err)
	}
	if got := i.failure(); got != nil {
		t.Errorf("read through a link: %v", got)
	}
}
