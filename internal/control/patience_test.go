package control

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatelodge/gatelodge/internal/control/sources"
	"github.com/gatelodge/gatelodge/internal/key"
)

// pipes is a listener inside this process, for tests with a clock of their
// own (testing/synctest).
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { close(p.closed); return nil }

func (p *pipes) Addr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort("10.99.0.1:1"))
}

// pipe is a connection that says where it comes from.
type pipe struct {
	net.Conn
	from netip.AddrPort
}

func (p pipe) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(p.from) }

func (p *pipes) dial(from string) net.Conn {
	near, far := net.Pipe()
	p.conns <- pipe{far, netip.MustParseAddrPort(from)}
	return near
}

// inBubble runs a test against a server with a clock of its own.
func inBubble(t *testing.T, test func(t *testing.T, p *pipes)) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- NewServer(&fakeGate{}, quiet()).Serve(ctx, p) }()
		test(t, p)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// trickle writes one byte a minute for as long as it can.
func trickle(conn net.Conn, text string) {
	for i := range text {
		if _, err := conn.Write([]byte(text[i : i+1])); err != nil {
			return
		}
		time.Sleep(time.Minute)
	}
}

func TestSlowPeers(t *testing.T) {
	head := "PUT " + pathForwards + " HTTP/1.1\r\nHost: 10.99.0.1\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
	for name, test := range map[string]struct {
		first, rest string
		want        string // of the answer
		patience    time.Duration
	}{
		"header":  {"", head, "", headerTimeout},
		"body":    {head, strings.Repeat(" ", 1000), string(TooSlow), requestTimeout},
		"silence": {"", "", "", headerTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, p *pipes) {
				conn := p.dial("10.99.0.2:1000")
				start := time.Now()
				var answer []byte
				var took time.Duration
				done := make(chan struct{})
				go func() {
					defer close(done)
					answer, _ = io.ReadAll(conn) // whatever comes before it is hung up
					took = time.Since(start)
				}()
				if _, err := io.WriteString(conn, test.first); err != nil {
					t.Fatal(err)
				}
				trickle(conn, test.rest)
				<-done
				if !strings.Contains(string(answer), test.want) {
					t.Errorf("answer %q, want %q in it", answer, test.want)
				}
				if took > test.patience+time.Second {
					t.Errorf("the server waited %v, not %v", took, test.patience)
				}
			})
		})
	}
}

// A source with too many connections is hung up on; another one is served.
func TestConnectionsOfOneSource(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pipes) {
		var open []net.Conn
		for range sources.MaxConns {
			open = append(open, p.dial("10.99.0.2:1000"))
		}
		start := time.Now()
		if _, err := p.dial("10.99.0.2:1001").Read(make([]byte, 1)); !errors.Is(err, io.EOF) || time.Since(start) > 0 {
			t.Errorf("one more connection: %v after %v, want EOF at once", err, time.Since(start))
		}
		other := p.dial("10.99.0.3:1000")
		if _, err := io.WriteString(other, "GET "+pathState+" HTTP/1.1\r\nHost: 10.99.0.1\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		r, err := http.ReadResponse(bufio.NewReader(other), nil)
		if err != nil || r.StatusCode != http.StatusOK {
			t.Fatalf("the other source: %v, %v", r, err)
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Error(err)
		}
		for _, c := range append(open, other) {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		again := p.dial("10.99.0.2:1002")
		if _, err := io.WriteString(again, "GET / HTTP/1.1\r\nHost: 10.99.0.1\r\nConnection: close\r\n\r\n"); err != nil {
			t.Errorf("the places were not given back: %v", err)
		}
		if _, err := io.Copy(io.Discard, again); err != nil {
			t.Error(err)
		}
	})
}

// More than all connections have to wait, and get their turn.
func TestAllConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		l := sources.Limit(p, sources.New())
		var conns []net.Conn
		accept := func() {
			c, err := l.Accept()
			if err != nil {
				t.Error(err)
			}
			conns = append(conns, c)
		}
		addr := netip.MustParseAddr("10.99.0.2")
		for range sources.MaxAllConns {
			go p.dial(netip.AddrPortFrom(addr, 1).String())
			addr = addr.Next()
			accept()
		}
		go p.dial(netip.AddrPortFrom(addr, 1).String())
		waiting := make(chan struct{})
		go func() { accept(); close(waiting) }()
		synctest.Wait()
		if len(conns) != sources.MaxAllConns {
			t.Fatalf("%d connections, want %d", len(conns), sources.MaxAllConns)
		}
		first := conns[0]
		_ = first.Close()
		_ = first.Close() // a second Close gives nothing back
		<-waiting
		if err := errors.Join(l.Close(), l.Close()); err != nil {
			t.Error(err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

func TestMessagesOfOneSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(&fakeGate{}, quiet())
		served := 0
		ask := func(from string) bool {
			status, _ := post(s, "GET", pathState, from, "")
			return status == http.StatusOK
		}
		for range 1000 {
			if ask("10.99.0.2:1") || ask("[::ffff:10.99.0.2]:2") { // one source, two spellings
				served++
			}
		}
		if served != sources.RequestsBurst {
			t.Errorf("%d messages at once, want %d", served, sources.RequestsBurst)
		}
		if !ask("10.99.0.3:1") {
			t.Error("another source has to suffer")
		}
		time.Sleep(time.Second)
		if !ask("10.99.0.2:1") {
			t.Error("no message a second later")
		}
	})
}

// An address that guesses at invites gets one try a second.
func TestGuessing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := &fakeGate{err: refuse(UnknownInvite, "no such invite")}
		s := NewServer(gate, quiet())
		guess := func(from string) int {
			body := `{"version":1,"secret":"` + newSecret(t).RevealText() + `","public_key":"` + key.Public{1}.String() + `"}`
			status, _ := post(s, "POST", pathEnrol, from, body)
			return status
		}
		const seconds = 100
		for range seconds * 20 {
			guess("10.99.0.254:1")
			time.Sleep(time.Second / 20)
		}
		if gate.enrols > seconds+1 || gate.enrols < seconds/2 {
			t.Errorf("%d guesses reached the gate in %d seconds", gate.enrols, seconds)
		}
		gate.err = nil
		if status := guess("10.99.0.253:1"); status != http.StatusOK {
			t.Errorf("another invite suffers: status %d", status)
		}
		if status := guess("10.99.0.253:1"); status != http.StatusOK {
			t.Errorf("a success counts as a failure: status %d", status)
		}
	})
}

// Attempts at the same time are not let through either.
func TestGuessingInParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		s := NewServer(&fakeGate{hook: func() { <-release }}, quiet())
		body := `{"version":1,"secret":"` + newSecret(t).RevealText() + `","public_key":"` + key.Public{1}.String() + `"}`
		first := make(chan int, 1)
		go func() {
			status, _ := post(s, "POST", pathEnrol, "10.99.0.254:1", body)
			first <- status
		}()
		synctest.Wait()
		if status, _ := post(s, "POST", pathEnrol, "10.99.0.254:2", body); status != http.StatusTooManyRequests {
			t.Errorf("the second attempt: status %d", status)
		}
		close(release)
		if status := <-first; status != http.StatusOK {
			t.Errorf("the first attempt: status %d", status)
		}
	})
}
