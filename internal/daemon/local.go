package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/gatelodge/gatelodge/internal/status"
)

// role is what the local socket asks of a gate or a home.
type role interface {
	Report(ctx context.Context) status.Report
	Plan(ctx context.Context) (PlanResponse, error)
	Apply(ctx context.Context, req ApplyRequest) (ApplyResponse, error)
}

// localServer answers the commands of this machine over a socket that only
// its owner may open.
type localServer struct {
	path string
	mux  *http.ServeMux
	log  *slog.Logger
}

func newLocalServer(path string, r role, stop context.CancelFunc, log *slog.Logger) *localServer {
	s := &localServer{path: path, mux: http.NewServeMux(), log: log}
	s.mux.HandleFunc("GET /status", func(w http.ResponseWriter, req *http.Request) {
		s.answer(w, r.Report(req.Context()), nil)
	})
	s.mux.HandleFunc("GET /plan", func(w http.ResponseWriter, req *http.Request) {
		p, err := r.Plan(req.Context())
		s.answer(w, p, err)
	})
	s.mux.HandleFunc("POST /apply", func(w http.ResponseWriter, req *http.Request) {
		var in ApplyRequest
		if !s.read(w, req, &in) {
			return
		}
		a, err := r.Apply(req.Context(), in)
		s.answer(w, a, err)
	})
	s.mux.HandleFunc("POST /stop", func(w http.ResponseWriter, _ *http.Request) {
		s.answer(w, struct{}{}, nil)
		stop()
	})
	if e, ok := r.(examined); ok {
		s.mux.HandleFunc("GET /doctor", func(w http.ResponseWriter, req *http.Request) {
			s.answer(w, diagnose(req.Context(), e), nil)
		})
	}
	if g, ok := r.(gatekeeper); ok {
		s.handleGate(g)
	}
	return s
}

// gatekeeper is what only a gate can do.
type gatekeeper interface {
	Invite(ctx context.Context, req InviteRequest) (InviteResponse, error)
	Revoke(ctx context.Context, name string) error
	Confirm(ctx context.Context, req ConfirmRequest) (ConfirmResponse, error)
}

func (s *localServer) handleGate(g gatekeeper) {
	s.mux.HandleFunc("POST /invite", func(w http.ResponseWriter, req *http.Request) {
		var in InviteRequest
		if !s.read(w, req, &in) {
			return
		}
		out, err := g.Invite(req.Context(), in)
		s.answer(w, out, err)
	})
	s.mux.HandleFunc("POST /confirm", func(w http.ResponseWriter, req *http.Request) {
		var in ConfirmRequest
		if !s.read(w, req, &in) {
			return
		}
		out, err := g.Confirm(req.Context(), in)
		s.answer(w, out, err)
	})
	s.mux.HandleFunc("POST /revoke", func(w http.ResponseWriter, req *http.Request) {
		var in RevokeRequest
		if !s.read(w, req, &in) {
			return
		}
		s.answer(w, struct{}{}, g.Revoke(req.Context(), in.Name))
	})
}

// maxLocalRequest bounds a command's request in bytes.
const maxLocalRequest = 1 << 20

func (s *localServer) read(w http.ResponseWriter, req *http.Request, into any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, req.Body, maxLocalRequest))
	if err := d.Decode(into); err != nil {
		s.answer(w, nil, fmt.Errorf("cannot read the request: %w", err))
		return false
	}
	return true
}

func (s *localServer) answer(w http.ResponseWriter, out any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusConflict)
		f := failure{Error: err.Error()}
		if refused, ok := errors.AsType[*RefusedError](err); ok {
			f.Hint = refused.Hint
		}
		out = f
	}
	if err := json.NewEncoder(w).Encode(out); err != nil {
		s.log.Debug("a command left before its answer", "error", err)
	}
}

// listen opens the socket. The lock on the state folder has already shown
// that no other daemon lives, so a socket that is there is a dead one's.
func (s *localServer) listen() (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the folder of the daemon's socket: %w", err)
	}
	if err := os.Remove(s.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("cannot remove the socket of an earlier daemon: %w", err)
	}
	l, err := net.Listen("unix", s.path)
	if err != nil {
		return nil, fmt.Errorf("cannot listen for commands: %w", err)
	}
	if err := os.Chmod(s.path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot protect the daemon's socket: %w", err), l.Close())
	}
	return l, nil
}

// loop returns the task that answers until its context ends. A socket that
// cannot be made, or that fails, is made again: forwards do not depend on it.
func (s *localServer) loop() *loop {
	return newLoop("commands", time.Second, s.log, func(ctx context.Context) error {
		l, err := s.listen()
		if err != nil {
			return err
		}
		return serveHTTP(ctx, l, s.mux)
	})
}

// shutdownTime is how long answers under way may take once the daemon ends.
const shutdownTime = 3 * time.Second

// serveHTTP serves until ctx ends, and lets answers under way finish.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	stopped := make(chan error, 1)
	stopWatching := context.AfterFunc(ctx, func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
		defer cancel()
		stopped <- server.Shutdown(end)
	})
	defer stopWatching()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}
