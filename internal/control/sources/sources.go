// Package sources holds what each peer in the tunnel may have of the control channel at
// once and in a second, so that a greedy one spends its own share alone.
package sources

import (
	"maps"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/gatelodge/gatelodge/internal/control/ping"
)

// What one source may do. A source is a peer's address in the tunnel, so that
// a greedy home spends its own share and nobody else's.
const (
	RequestsPerSecond = 10
	RequestsBurst     = 40
	EnrolPause        = time.Second // after a failed attempt
	MaxConns          = 8           // of one source at once
	MaxBodies         = 4           // of one source read at once
	MaxAllConns       = 256         // of all of them
)

// Sources keeps the accounts.
type Sources struct {
	mu  sync.Mutex
	all map[netip.Addr]*account
}

type account struct {
	conns     int
	bodies    int
	requests  *rate.Limiter
	enrolling bool
	enrolNext time.Time // no attempt is let through before
}

// New returns accounts of nobody yet.
func New() *Sources { return &Sources{all: make(map[netip.Addr]*account)} }

// of returns the account of a source, or nil if there are too many. The
// caller holds the lock.
func (s *Sources) of(from netip.Addr) *account {
	if a := s.all[from]; a != nil {
		return a
	}
	if len(s.all) >= ping.MaxSources {
		maps.DeleteFunc(s.all, func(_ netip.Addr, a *account) bool { return a.settled() })
	}
	if len(s.all) >= ping.MaxSources {
		return nil
	}
	a := &account{requests: rate.NewLimiter(RequestsPerSecond, RequestsBurst)}
	s.all[from] = a
	return a
}

// settled reports whether a new account would be no different.
func (a *account) settled() bool {
	return a.conns == 0 && a.bodies == 0 && !a.enrolling && !time.Now().Before(a.enrolNext) && a.requests.Tokens() >= RequestsBurst
}

// Allow reports whether a source may send another message now.
func (s *Sources) Allow(from netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.of(from)
	return a != nil && a.requests.Allow()
}

// BeginEnrol reports whether a source may try an invite now: one attempt at a
// time, and none within a second of a failure, so that guessing is hopeless.
// Each true is followed by a call of EndEnrol.
func (s *Sources) BeginEnrol(from netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.of(from)
	if a == nil || a.enrolling || time.Now().Before(a.enrolNext) {
		return false
	}
	a.enrolling = true
	return true
}

// EndEnrol ends an attempt. After one that failed, the next has to wait.
func (s *Sources) EndEnrol(from netip.Addr, failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.all[from]
	a.enrolling = false
	if failed {
		a.enrolNext = time.Now().Add(EnrolPause)
	}
}

// BeginBody reports whether another message of a source may be read now. Each
// true is followed by a call of EndBody.
func (s *Sources) BeginBody(from netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.of(from)
	if a == nil || a.bodies >= MaxBodies {
		return false
	}
	a.bodies++
	return true
}

// EndBody ends what BeginBody has begun.
func (s *Sources) EndBody(from netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[from].bodies--
}

// enter counts a connection in, or refuses it.
func (s *Sources) enter(from netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.of(from)
	if a == nil || a.conns >= MaxConns {
		return false
	}
	a.conns++
	return true
}

func (s *Sources) leave(from netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[from].conns--
}

// limited is a listener that accepts only as many connections as can be
// served: over all it lets the others wait, from one source it hangs up on
// them.
type limited struct {
	net.Listener
	sources *Sources
	places  chan struct{}
	closed  chan struct{}
	close   func() error
}

// Limit returns a listener that accepts only as many connections as can be served.
func Limit(l net.Listener, s *Sources) net.Listener {
	closed := make(chan struct{})
	return &limited{
		Listener: l,
		sources:  s,
		places:   make(chan struct{}, MaxAllConns),
		closed:   closed,
		close: sync.OnceValue(func() error {
			close(closed)
			return l.Close()
		}),
	}
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			<-l.places
			return nil, err
		}
		if from := ping.Source(conn.RemoteAddr().String()); from.IsValid() && l.sources.enter(from) {
			return &counted{Conn: conn, leave: sync.OnceFunc(func() { l.sources.leave(from); <-l.places })}, nil
		}
		_ = conn.Close() // nothing was sent
	}
}

// Close implements net.Listener.
func (l *limited) Close() error { return l.close() }

// counted gives its place back when it is closed.
type counted struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *counted) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
