package local

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/gatelodge/gatelodge/internal/plan"
	"github.com/gatelodge/gatelodge/internal/status"
)

// fakeDaemon answers as a daemon does.
type fakeDaemon struct {
	err  error
	stop func()
}

func (f fakeDaemon) Report(context.Context) status.Report {
	return status.Report{Role: "gate", Running: true}
}
func (f fakeDaemon) Plan(context.Context) (PlanResponse, error) {
	return PlanResponse{Changes: []plan.Change{{Kind: plan.Added, Subject: "rule"}}}, f.err
}
func (f fakeDaemon) Apply(context.Context, ApplyRequest) (ApplyResponse, error) {
	return ApplyResponse{}, f.err
}

func (f fakeDaemon) Diagnose(context.Context) (DoctorResponse, error) { return DoctorResponse{}, f.err }
func (f fakeDaemon) Stop()                                            { f.stop() }

func TestTheLocalSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "run", "daemon.sock")
	client := NewClient(socket)
	if _, err := client.Status(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("without a daemon: %v", err)
	}
	refusal := &RefusedError{Message: "no", Hint: "ask again"}
	ctx, stop := context.WithCancel(t.Context())
	server := NewServer(socket, fakeDaemon{refusal, stop}, slog.New(slog.DiscardHandler))
	l, err := server.listen()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- serveHTTP(ctx, l, server.mux) }()
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 || info.Mode().Type() != fs.ModeSocket {
		t.Errorf("the socket is %v, %v", info.Mode(), err)
	}
	if r, err := client.Status(t.Context()); err != nil || !r.Running {
		t.Errorf("status: %+v, %v", r, err)
	}
	_, err = client.Apply(t.Context(), ApplyRequest{})
	if got, ok := errors.AsType[*RefusedError](err); !ok || *got != *refusal {
		t.Errorf("a refusal arrives as %v", err)
	}
	if err := client.Revoke(t.Context(), "attic"); err == nil {
		t.Error("a daemon that is no gate revokes")
	}
	if err := client.Stop(t.Context()); err != nil {
		t.Errorf("stop: %v", err)
	}
	if err := <-done; err != nil {
		t.Errorf("the server ended with %v", err)
	}
}

// A socket that a daemon left when it was killed does not keep the next one
// from starting.
func TestADeadDaemonsSocketIsReplaced(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "daemon.sock")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := NewClient(socket).Status(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("at a dead daemon's socket: %v", err)
	}
	l, err := NewServer(socket, fakeDaemon{}, slog.New(slog.DiscardHandler)).listen()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
