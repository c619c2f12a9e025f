package local

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
	"strings"
	"time"

	"github.com/gatelodge/gatelodge/internal/status"
)

// Daemon is what a command can ask of every daemon.
type Daemon interface {
	Report(ctx context.Context) status.Report
	Plan(ctx context.Context) (PlanResponse, error)
	Apply(ctx context.Context, req ApplyRequest) (ApplyResponse, error)
	Diagnose(ctx context.Context) (DoctorResponse, error)
	// Stop has the daemon end. What it set up stays standing.
	Stop()
}

// Gatekeeper is what only a gate can do.
type Gatekeeper interface {
	Invite(ctx context.Context, req InviteRequest) (InviteResponse, error)
	Revoke(ctx context.Context, req RevokeRequest) error
	Confirm(ctx context.Context, req ConfirmRequest) (ConfirmResponse, error)
}

// Leaver is what only a home can do.
type Leaver interface {
	// Leave has the gate publish nothing of this home any longer. The error says why
	// the gate does not know of it.
	Leave(ctx context.Context) error
}

// call is one thing that can be asked, by anybody who may open the socket.
type call struct {
	method, path string
	whole        bool
	answer       func(ctx context.Context, read func(into any) error) (any, error)
}

// context is that of the request, for what a command looks at or can have again. A
// change that has begun is carried out, also for a command that has gone away: it is
// in force as a whole or not at all.
func (c call) context(req *http.Request) context.Context {
	if c.whole {
		return context.WithoutCancel(req.Context())
	}
	return req.Context()
}

// calls lists all that can be asked of a daemon.
func calls(d Daemon) []call {
	list := []call{
		{http.MethodGet, placePrefix + "/status", false, func(ctx context.Context, _ func(any) error) (any, error) { return d.Report(ctx), nil }},
		{http.MethodGet, placePrefix + "/plan", false, func(ctx context.Context, _ func(any) error) (any, error) { return d.Plan(ctx) }},
		{http.MethodPost, placePrefix + "/apply", true, asked(d.Apply)},
		{http.MethodGet, placePrefix + "/doctor", false, func(ctx context.Context, _ func(any) error) (any, error) { return d.Diagnose(ctx) }},
		{http.MethodPost, stopPlace, false, func(context.Context, func(any) error) (any, error) { return struct{}{}, nil }},
	}
	if l, isHome := d.(Leaver); isHome {
		list = append(list, call{http.MethodPost, placePrefix + "/leave", true, func(ctx context.Context, _ func(any) error) (any, error) { return struct{}{}, l.Leave(ctx) }})
	}
	g, isGate := d.(Gatekeeper)
	if !isGate {
		return list
	}
	revoke := func(ctx context.Context, req RevokeRequest) (struct{}, error) { return struct{}{}, g.Revoke(ctx, req) }
	return append(list,
		call{http.MethodPost, placePrefix + "/invite", false, asked(g.Invite)},
		call{http.MethodPost, placePrefix + "/confirm", true, asked(g.Confirm)},
		call{http.MethodPost, placePrefix + "/revoke", true, asked(revoke)})
}

// asked makes an answer of a function that takes a request.
func asked[In, Out any](f func(ctx context.Context, in In) (Out, error)) func(context.Context, func(any) error) (any, error) {
	return func(ctx context.Context, read func(any) error) (any, error) {
		var in In
		if err := read(&in); err != nil {
			return nil, err
		}
		return f(ctx, in)
	}
}

// Server answers the commands of this machine.
type Server struct {
	path string
	mux  *http.ServeMux
	log  *slog.Logger
}

// NewServer returns a server of a daemon's at a socket.
func NewServer(socket string, d Daemon, log *slog.Logger) *Server {
	s := &Server{path: socket, mux: http.NewServeMux(), log: log}
	for _, c := range calls(d) {
		s.mux.HandleFunc(c.method+" "+c.path, func(w http.ResponseWriter, req *http.Request) {
			out, err := c.answer(c.context(req), func(into any) error { return s.read(w, req, into) })
			s.answer(w, out, err)
			if c.path == stopPlace {
				d.Stop() // once the command has its answer
			}
		})
	}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, req *http.Request) { s.answer(w, nil, unknown(req)) })
	return s
}

// unknown refuses what nobody here is asked, in the form that every version of the
// commands reads.
func unknown(req *http.Request) error {
	if strings.HasPrefix(req.URL.Path, placePrefix+"/") {
		return &RefusedError{Message: "this daemon is not asked that: it may be a home, and the command one for a gate"}
	}
	return otherVersion()
}

// maxLocalRequest bounds a command's request in bytes.
const maxLocalRequest = 1 << 20

func (s *Server) read(w http.ResponseWriter, req *http.Request, into any) error {
	if err := json.NewDecoder(http.MaxBytesReader(w, req.Body, maxLocalRequest)).Decode(into); err != nil {
		return fmt.Errorf("cannot read the request: %w", err)
	}
	return nil
}

func (s *Server) answer(w http.ResponseWriter, out any, err error) {
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
func (s *Server) listen() (net.Listener, error) {
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

// Serve answers until ctx ends, or the socket cannot be made or fails.
func (s *Server) Serve(ctx context.Context) error {
	l, err := s.listen()
	if err != nil {
		return err
	}
	return serveHTTP(ctx, l, s.mux)
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
