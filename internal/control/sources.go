package control

import (
	"maps"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// What one source may do. A source is a peer's address in the tunnel, so that
// a greedy home spends its own share and nobody else's.
const (
	requestsPerSecond = 10
	requestsBurst     = 40
	enrolPause        = time.Second // after a failed attempt
	maxConns          = 8           // of one source at once
	maxBodies         = 4           // of one source read at once
	maxAllConns       = 256         // of all of them
	maxSources        = 1024        // remembered
)

// sources keeps the accounts.
type sources struct {
	mu  sync.Mutex
	all map[netip.Addr]*account

	pushes *turns
}

type account struct {
	conns     int
	bodies    int
	requests  *rate.Limiter
	enrolling bool
	enrolNext time.Time // no attempt is let through before
}

func newSources() *sources { return &sources{all: make(map[netip.Addr]*account), pushes: newTurns()} }

// of returns the account of a source, or nil if there are too many. The
// caller holds the lock.
func (s *sources) of(from netip.Addr) *account {
	if a := s.all[from]; a != nil {
		return a
	}
	if len(s.all) >= maxSources {
		maps.DeleteFunc(s.all, func(_ netip.Addr, a *account) bool { return a.settled() })
	}
	if len(s.all) >= maxSources {
		return nil
	}
	a := &account{requests: rate.NewLimiter(requestsPerSecond, requestsBurst)}
	s.all[from] = a
	return a
}

// settled reports whether a new account would be no different.
func (a *account) settled() bool {
	return a.conns == 0 && a.bodies == 0 && !a.enrolling && !time.Now().Before(a.enrolNext) && a.requests.Tokens() >= requestsBurst
}

// allow reports whether a source may send another message now.
func (s *sources) allow(from netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.of(from)
	return a != nil && a.requests.Allow()
}

// beginEnrol reports whether a source may try an invite now: one attempt at a
// time, and none within a second of a failure, so that guessing is hopeless.
// Each true is followed by a call of endEnrol.
func (s *sources) beginEnrol(from netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.of(from)
	if a == nil || a.enrolling || time.Now().Before(a.enrolNext) {
		return false
	}
	a.enrolling = true
	return true
}

func (s *sources) endEnrol(from netip.Addr, failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.all[from]
	a.enrolling = false
	if failed {
		a.enrolNext = time.Now().Add(enrolPause)
	}
}

// beginBody reports whether another message of a source may be read now. Each
// true is followed by a call of endBody.
func (s *sources) beginBody(from netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.of(from)
	if a == nil || a.bodies >= maxBodies {
		return false
	}
	a.bodies++
	return true
}

func (s *sources) endBody(from netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[from].bodies--
}

// enter counts a connection in, or refuses it.
func (s *sources) enter(from netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.of(from)
	if a == nil || a.conns >= maxConns {
		return false
	}
	a.conns++
	return true
}

func (s *sources) leave(from netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[from].conns--
}

// source returns the address in HOST:PORT, or the zero Addr.
func source(remote string) netip.Addr {
	a, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap().WithZone("")
}

// limited is a listener that accepts only as many connections as can be
// served: over all it lets the others wait, from one source it hangs up on
// them.
type limited struct {
	net.Listener
	sources *sources
	places  chan struct{}
	closed  chan struct{}
	close   func() error
}

func limit(l net.Listener, s *sources) *limited {
	closed := make(chan struct{})
	return &limited{
		Listener: l,
		sources:  s,
		places:   make(chan struct{}, maxAllConns),
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
		if from := source(conn.RemoteAddr().String()); from.IsValid() && l.sources.enter(from) {
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
