package ping

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
)

func servePing(t *testing.T) netip.AddrPort {
	t.Helper()
	conn, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	run(t, func(ctx context.Context) error { return Serve(ctx, conn, NewRuns()) })
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

func TestPing(t *testing.T) {
	p := New(servePing(t), new(net.Dialer).DialContext, NewRun())
	for range 3 {
		if pong, err := p.Ping(t.Context()); err != nil || pong.RoundTrip <= 0 || pong.GiveWay || pong.Several {
			t.Errorf("%+v, %v", pong, err)
		}
	}
}

// The server answers questions, and with what it was asked.
func TestPingServer(t *testing.T) {
	conn, err := new(net.Dialer).DialContext(t.Context(), "udp", servePing(t).String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	question := newPing(NewRun())
	answer, _ := answered(question[:], standing{})
	other := newPing(NewRun())
	for _, packet := range [][]byte{{}, []byte("GLpg"), make([]byte, pingSize), answer[:], append(other[:], 0), other[:pingSize-1]} {
		if _, err := conn.Write(packet); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Write(question[:]); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 100)
	n, err := conn.Read(got)
	if err != nil || string(got[:n]) != string(answer[:]) {
		t.Errorf("the first answer is %x, %v, want %x", got[:n], err, answer)
	}
}

func TestPingNoAnswer(t *testing.T) {
	silent, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		// Answers to other questions are no answer.
		packet := make([]byte, 100)
		_, from, _ := silent.ReadFrom(packet)
		question := newPing(NewRun())
		other, _ := answered(question[:], standing{})
		_, _ = silent.WriteTo(other[:], from)
		cancel()
	}()
	p := New(silent.LocalAddr().(*net.UDPAddr).AddrPort(), new(net.Dialer).DialContext, NewRun())
	if _, err := p.Ping(ctx); !errors.Is(err, ErrUnreachable) || !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	broken := errors.New("no route")
	p = New(netip.AddrPort{}, func(context.Context, string, string) (net.Conn, error) { return nil, broken }, NewRun())
	if _, err := p.Ping(t.Context()); !errors.Is(err, ErrUnreachable) || !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

// failing is an endpoint that has only errors to offer.
type failing struct {
	net.PacketConn
	closed bool
}

func (f *failing) ReadFrom([]byte) (int, net.Addr, error) {
	return 0, nil, errors.New("device is gone")
}

func (f *failing) Close() error { f.closed = true; return nil }

func TestPingServerGivesUp(t *testing.T) {
	f := &failing{}
	if err := Serve(t.Context(), f, NewRuns()); err == nil || !f.closed {
		t.Errorf("error %v, closed %v", err, f.closed)
	}
}

func run(t testing.TB, task func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- task(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the task ended with %v", err)
		}
	})
}

func FuzzPing(f *testing.F) {
	p := Bare()
	f.Add(p[:])
	f.Add(p[:20])
	f.Add([]byte{})
	r := NewRuns()
	from := net.UDPAddrFromAddrPort(netip.MustParseAddrPort("10.99.0.2:1"))
	f.Fuzz(func(t *testing.T, packet []byte) {
		a, ok := r.answer(packet, from)
		if !ok {
			return
		}
		if _, again := r.answer(a[:], from); again || len(packet) != len(a) {
			t.Errorf("%x is answered with %x", packet, a)
		}
		if n := len(r.homes[from.AddrPort().Addr()]); n > maxRuns {
			t.Errorf("%d runs of one home are remembered", n)
		}
	})
}
